"""Epochs as a dishonest operator would have them: by whom, on what, and in which name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from ledger_core import clock, ids
from ledger_core.formats.archive import Since
from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.entry import Entry, Header, format_entry
from ledger_core.formats.record import Record, make_part, seal
from ledger_core.formats.trust_policy import parse_trust_policy
from ledger_core.formats.vkey import NoteSigner, format_vkey
from ledger_core.merkle import tree
from ledger_core.records.model import JSON
from ledger_core.records.types.epoch import (
    Epoch,
    Extent,
    Known,
    Statement,
    fork_of,
    sign_statement,
    sort_agreements,
)
from tests.support.archives import BEGAN_MS, ORIGIN, Archive, Log, key, record_id
from tests.verifier.audits import audit, first
from verifier.evidence import Kept, parse_kept_checkpoint
from verifier.findings import Likely
from verifier.report import exit_code

NEW = f"{ORIGIN}/epoch/2"
NEXT = NoteSigner(NEW, key(5))
ROOT = ids.format_digest(bytes(32))


@dataclass
class EpochLog(Log):
    """A log that lost what came after its first notes, and says so as it likes."""

    def checkpoint(self, size: int | None = None, *, cosigned: bool = False) -> bytes:
        size = len(self.leaves) if size is None else size
        return sign_checkpoint(Checkpoint(NEW, size, tree.root(self.hashes[:size])), NEXT)

    def statement(self, **changed: Any) -> Statement:
        size = len(self.leaves)
        root = ids.format_digest(tree.root(self.hashes))
        known = (Known(ORIGIN, size + 20, ROOT),)
        made = Statement(
            ORIGIN, NEW, format_vkey(NEXT.public), Extent(size, root), known, "disk lost"
        )
        return msgspec.structs.replace(made, **changed)

    def open_epoch(
        self, *signers: PrivateKey, fork_by: NoteSigner | None = None, **changed: Any
    ) -> int:
        statement = self.statement(**changed)
        fork = sign_checkpoint(fork_of(statement), fork_by or self.signer)
        signed = [sign_statement(statement, each) for each in signers or (self.operator,)]
        return self.place_in_epoch(
            "epoch/1", Epoch(statement, fork.decode(), sort_agreements(signed)), self.operator
        )

    def place_in_epoch(
        self, kind: str, body: Any, author: PrivateKey, ledger: str = NEW, origin: str = NEW
    ) -> int:
        index = len(self.leaves)
        ref, part = make_part(msgspec.json.encode(body), JSON, bytes([index]) * 32)
        record = Record(
            v=1,
            ledger=ledger,
            id=record_id(index),
            type=kind,
            author=ids.format_key(author.public_key),
            made_at=clock.format_time(BEGAN_MS),
            payload={"body": ref},
        )
        signed = seal(record, author)
        at = BEGAN_MS + 1000 * (index // 3)
        header = Header(origin, index, self.hashes[-1], at, signed.signature)
        return self.place_leaf(format_entry(Entry(header, signed.raw)), {"body": part})

    def export(self, at: int, start: int = 0) -> Archive:
        origins = (Since(0, ORIGIN), Since(at, NEW))
        return self.archive(start).reseal(origin=NEW, origins=origins)


@pytest.fixture
def log() -> EpochLog:
    log = EpochLog()
    founded = Log.founded()
    log.leaves, log.hashes, log.payloads = founded.leaves, founded.hashes, founded.payloads
    for number in range(3):
        log.note({"n": number})
    return log


def policy(log: EpochLog) -> Any:
    return parse_trust_policy(log.policy())


def test_an_honest_epoch_passes_and_old_records_are_taken_in_it(log: EpochLog) -> None:
    at = log.open_epoch()
    log.place_in_epoch("note/1", "again", log.agent, ledger=ORIGIN)
    log.place_in_epoch("note/1", "new", log.agent)
    verdict = audit(log.export(at), policy=policy(log), accepted=frozenset({NEW}))
    assert verdict.findings.first() is None
    assert verdict.level == "L1"


FORGERIES: dict[str, tuple[Callable[[EpochLog], int], int]] = {
    "signed by nobody who decides": (lambda log: log.open_epoch(log.agent), 10),
    "signed by a key of nobody": (lambda log: log.open_epoch(key(99)), 10),
    "on another tree than the log has": (
        lambda log: log.open_epoch(fork=Extent(len(log.leaves), ROOT)),
        7,
    ),
    "at another size than it says": (
        lambda log: log.open_epoch(fork=Extent(len(log.leaves) - 1, ROOT)),
        10,
    ),
    "where nothing was lost": (
        lambda log: log.open_epoch(known=(Known(ORIGIN, len(log.leaves), ROOT),)),
        10,
    ),
    "on a fork that another key signed": (
        lambda log: log.open_epoch(fork_by=NoteSigner(ORIGIN, key(9))),
        10,
    ),
    "after an origin that the log never had": (
        lambda log: log.open_epoch(
            old_origin=f"{ORIGIN}/epoch/1", fork=Extent(len(log.leaves), ROOT)
        ),
        11,
    ),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_an_epoch_is_refused(what: str, log: EpochLog) -> None:
    forge, check = FORGERIES[what]
    at = forge(log)
    log.place_in_epoch("note/1", "new", log.agent)
    verdict = audit(log.export(at), policy=policy(log), accepted=frozenset({NEW}))
    assert (check, at) in {(each.check, each.index) for each in verdict.findings.kept}
    assert exit_code(verdict, None) == 1
    assert not verdict.is_trusted or check == 10


def test_an_entry_under_the_origin_that_was_left_is_found(log: EpochLog) -> None:
    at = log.open_epoch()
    log.place_in_epoch("note/1", "in the old name", log.agent, origin=ORIGIN)
    found = first(log.export(at))
    assert (found.check, found.index, found.likely) == (5, at + 1, Likely.REPLACED_ENTRY)


def test_a_record_for_an_epoch_to_come_is_found(log: EpochLog) -> None:
    log.place_in_epoch("note/1", "too early", log.agent, origin=ORIGIN)
    at = log.open_epoch()
    found = first(log.export(at))
    assert (found.check, found.index, found.field) == (8, at - 1, "ledger")


@pytest.mark.parametrize("moved", [-1, 1])
def test_a_manifest_that_moves_the_epoch_is_found(moved: int, log: EpochLog) -> None:
    at = log.open_epoch()
    log.place_in_epoch("note/1", "new", log.agent)
    found = first(log.export(at + moved))
    assert found.check in (5, 8)


def test_a_manifest_that_hides_the_epoch_is_found(log: EpochLog) -> None:
    at = log.open_epoch()
    made = log.export(at).reseal(origins=())
    assert first(made).check == 5


def test_a_log_made_up_around_a_trusted_key_is_not_trusted(log: EpochLog) -> None:
    """Anyone can copy a vkey into a charter; nobody else can have it sign the fork."""
    forger = EpochLog(operator=key(50))
    founded = Log(operator=key(50))
    operator = ids.format_key(founded.operator.public_key)
    founded.append(
        "charter/1",
        {
            "origin": ORIGIN,
            "kind": "private",
            "log_key": format_vkey(log.signer.public),
            "keys": [{"key": operator, "roles": ["operator"]}],
        },
        founded.operator,
    )
    forger.leaves, forger.hashes = founded.leaves, founded.hashes
    forger.payloads = founded.payloads
    at = forger.open_epoch(fork_by=NoteSigner(ORIGIN, key(50)))
    verdict = audit(forger.export(at), policy=policy(log), accepted=frozenset({NEW}))
    assert not verdict.is_trusted
    # Even the true log's fork, which its key did sign, is the fork of another tree.
    forger.leaves, forger.hashes = forger.leaves[:1], forger.hashes[:1]
    forger.payloads = forger.payloads[:1]
    true = Extent(1, ids.format_digest(log.hashes[0]))
    at = forger.open_epoch(fork_by=log.signer, fork=true)
    verdict = audit(forger.export(at), policy=policy(log), accepted=frozenset({NEW}))
    assert not verdict.is_trusted


def kept(log: EpochLog, size: int, root: bytes, signer: NoteSigner | None = None) -> Kept:
    by = signer or log.signer
    return parse_kept_checkpoint("kept", sign_checkpoint(Checkpoint(by.name, size, root), by))


def test_what_was_lost_is_noted_and_fails_nothing(log: EpochLog) -> None:
    at = log.open_epoch()
    lost = (kept(log, at + 1, b"\1" * 32), kept(log, at + 20, bytes(32)))
    verdict = audit(log.export(at), evidence=lost)
    assert exit_code(verdict, None) == 0
    said = [(each.level, each.found) for each in verdict.findings.in_order()]
    assert said == [("warn", f"lost in the epoch of entry {at}")] * 2


def test_more_was_lost_than_those_who_agreed_knew(log: EpochLog) -> None:
    at = log.open_epoch()
    verdict = audit(log.export(at), evidence=(kept(log, at + 21, bytes(32)),))
    [found] = verdict.findings.in_order()
    assert (found.level, found.likely) == ("warn", Likely.LOST)
    assert f"knew of size {at + 20} as the last" in found.found


def test_another_root_than_the_one_that_was_known_is_a_history_rewritten(log: EpochLog) -> None:
    at = log.open_epoch()
    found = first(log.export(at), evidence=(kept(log, at + 20, b"\1" * 32),))
    assert (found.check, found.likely) == (14, Likely.REWRITTEN)


def test_what_was_kept_must_hold_as_ever(log: EpochLog) -> None:
    at = log.open_epoch()
    true = kept(log, 2, tree.root(log.hashes[:2]))
    assert exit_code(audit(log.export(at), evidence=(true,)), None) == 0
    found = first(log.export(at), evidence=(kept(log, 2, b"\1" * 32),))
    assert (found.check, found.likely) == (14, Likely.REWRITTEN)


def test_a_new_name_on_an_old_size_is_found(log: EpochLog) -> None:
    """Under its new origin the log signs nothing of a size from before the epoch."""
    at = log.open_epoch()
    posing = kept(log, 2, tree.root(log.hashes[:2]), NEXT)
    found = first(log.export(at), evidence=(posing,))
    assert found.check == 14
