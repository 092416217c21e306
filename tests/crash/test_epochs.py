"""kill -9 on the way into an epoch: it is open then, or it is not begun."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ledger_core.epochs import state_epoch
from ledger_core.errors import ForkError
from ledger_core.fail_points import EPOCH_FAIL_POINTS
from ledger_core.records.types.epoch import format_statement
from tests.crash.harness import begin, wait
from tests.support.backups import REASON, Backups, agree, lose, operator_key, standstill
from tests.support.invariants import check_everything
from tests.support.ledgers import append_notes, checked_receipt

POINTS = ("sequencer.locked", "sequencer.entries-stored", *EPOCH_FAIL_POINTS)
NOT_BEGUN = {"sequencer.locked", "sequencer.entries-stored", "epoch.before-commit"}


@pytest.mark.parametrize("point", POINTS)
def test_an_epoch_is_open_or_not_begun_after_a_kill_at(
    point: str, backups: Backups, tmp_path: Path
) -> None:
    author, kept, _ = lose(backups)
    service = backups.service
    statement = state_epoch(standstill(service.open()), "main", REASON)
    file = tmp_path / "statement.json"
    file.write_bytes(format_statement(statement))
    service.close()
    urls = [service.database_url, service.memory_url, str(file)]
    assert wait(begin(["-m", "tests.crash.epoch", *urls], point)) == -signal.SIGKILL

    replica = service.open()
    ledger = replica.ledgers.get("main")
    if point in NOT_BEGUN:
        assert (ledger.size(), ledger.origin) == (5, statement.old_origin)
        assert isinstance(ledger.read_only, ForkError)
    else:
        assert (ledger.size(), ledger.origin) == (6, statement.new_origin)
        assert replica.ledgers.check_signed() == []
    assert agree(replica, statement, [operator_key(ledger)]) == 5

    replica = service.reopen()
    ledger = replica.ledgers.get("main")
    assert (ledger.size(), ledger.origin, ledger.read_only) == (6, statement.new_origin, None)
    assert replica.ledgers.check_signed() == []
    assert ledger.receipt(2) == kept[0]
    [note] = append_notes(ledger, author, 1)
    checked_receipt(ledger, note.index, note.receipt)
    check_everything(replica, ledger, tmp_path)
