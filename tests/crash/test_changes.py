"""kill -9 at every place on the way of a change: what holds is what the log says, and goes on."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ledger_core.fail_points import FAIL_POINTS
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.types.charter import Founding
from tests.crash.harness import check_acknowledged, check_resolved, start, wait
from tests.crash.load import AUTHOR, LEDGER, Work
from tests.support.invariants import check_chain, check_governance, check_rows
from tests.support.ledgers import Author, Service

AUTHORS = MutabilitySetting(
    type="note/1",
    amend=("author",),
    roll_back=("author",),
    redact=("author",),
    hold=("author",),
    erase=("author",),
)
POINTS = [point for point in FAIL_POINTS if point.startswith("sequencer.")]


@pytest.mark.parametrize("point", POINTS)
def test_a_service_killed_in_mid_change_knows_what_holds(
    point: str, service: Service, tmp_path: Path
) -> None:
    ledger = service.open().ledgers.create(LEDGER, founding=Founding(mutability=(AUTHORS,)))
    ledger.append_as_operator("key/1", Author(ledger.origin, AUTHOR).registration())
    service.close()
    work = Work(service.database_url, service.memory_url, str(tmp_path), "change")
    killed = start(work, f"{point}:17", module="tests.crash.change")
    assert wait(killed) == -signal.SIGKILL

    replica = service.open()
    replica.ledgers.eraser.close()  # What it appends by itself would come between two checks.
    ledger = replica.ledgers.get(LEDGER)
    assert check_acknowledged(ledger, work) == 16
    for _ in range(2):  # As it was left, and once what was on its way was handed in again.
        entries = check_chain(ledger)
        check_rows(replica, ledger, entries)
        check_governance(replica, ledger, entries)
        assert check_resolved(ledger, work) == 1
