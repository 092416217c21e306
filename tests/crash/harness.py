"""Starts the processes that get killed, and checks what they leave behind."""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.receipt import check_receipt, parse_receipt
from ledger_core.formats.submission import parse_submission
from ledger_core.ledger import Ledger
from tests.crash.load import AUTHOR, LEDGER, Work, describe
from tests.support import forking
from tests.support.ledgers import Author, Service, appended, checked_receipt

TIMEOUT_S = 120


def prepare(service: Service) -> Ledger:
    """Found the ledger that the processes append to, and register their author."""
    ledger = service.open().ledgers.create(LEDGER)
    ledger.append_as_operator("key/1", Author(ledger.origin, AUTHOR).registration())
    return ledger


def start(work: Work, fail_point: str = "", module: str = "tests.crash.load") -> forking.Process:
    """Start a process that appends, to die at a fail-point if one is named."""
    return begin(["-m", module, describe(work)], fail_point)


def begin(arguments: Sequence[str], fail_point: str = "") -> forking.Process:
    """Start any process that is to die at a fail-point, or at none."""
    armed = {"PYTHONPATH": forking.PATHS, "LEDGERGRID_FAIL_POINT": fail_point}
    return forking.start(arguments, env={**os.environ, **armed})


def wait(process: forking.Process) -> int:
    """Wait for a process to end, killed or well; return its exit status."""
    status = process.wait(TIMEOUT_S)
    assert status in (0, -signal.SIGKILL)
    return status


def read_lines(path: Path) -> Iterator[dict[str, str | int]]:
    """Read JSON lines; the last may be cut off by the kill, and then says nothing."""
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield json.loads(line)


def check_acknowledged(ledger: Ledger, work: Work) -> int:
    """Check that every acknowledged record is there, once and proven; return how many were."""
    acked = list(read_lines(work.file("acked")))
    indexes = sorted({int(line["index"]) for line in acked})
    entries = {
        entry.index: entry
        for at in range(0, len(indexes), 500)
        for entry in ledger.entries(indexes[at : at + 500])
    }
    verify = functools.cache(lambda note: verify_checkpoint(note, ledger.log_key))
    places: dict[str, tuple[int, str]] = {}
    for line in acked:
        place = (int(line["index"]), str(line["receipt"]))
        assert places.setdefault(str(line["id"]), place) == place
    for number, (record_id, (index, text)) in enumerate(places.items()):
        receipt = parse_receipt(text.encode())
        leaf = entries[index].leaf
        check_receipt(receipt, leaf, verify(receipt.checkpoint))
        assert (receipt.index, parse_entry(leaf).signed_record().record.id) == (index, record_id)
        if number % 20 == 0:
            assert ledger.index_of(record_id) == index
            assert ledger.receipt(index) == text.encode()
    return len(places)


def check_resolved(ledger: Ledger, work: Work) -> int:
    """Hand everything in again that was on its way; each has one entry then, the same as before.

    Returns how many were on their way when the process died and had no acknowledgement.
    """
    acked = {line["id"]: line for line in read_lines(work.file("acked"))}
    sent = {line["id"]: line for line in read_lines(work.file("sent"))}
    assert acked.keys() <= sent.keys()
    unresolved = [line for name, line in sent.items() if name not in acked]
    submissions = [parse_submission(str(line["submission"]).encode()) for line in unresolved]
    for submission, outcome in zip(submissions, ledger.append(submissions), strict=True):
        place = appended(outcome)
        checked_receipt(ledger, place.index, place.receipt)
        assert ledger.index_of(submission.signed.record.id) == place.index
    return len(unresolved)
