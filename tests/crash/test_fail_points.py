"""kill -9 at every named place, on both databases, under load."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ledger_core.fail_points import FAIL_POINTS
from tests.crash.harness import check_acknowledged, check_resolved, prepare, start, wait
from tests.crash.load import LEDGER, Work
from tests.support.invariants import check_everything
from tests.support.ledgers import Service

TASKS = {"ledgers": "create", "exporter": "export"}


@pytest.mark.parametrize("point", FAIL_POINTS)
def test_what_was_acknowledged_survives_a_kill_at(
    point: str, service: Service, tmp_path: Path
) -> None:
    prepare(service)
    service.close()
    task = TASKS.get(point.partition(".")[0], "append")
    work = Work(service.database_url, service.memory_url, str(tmp_path), "load", task=task)
    nth = "" if task == "export" else ":4"
    assert wait(start(work, point + nth)) == -signal.SIGKILL

    replica = service.open()
    ledger = replica.ledgers.get(LEDGER)
    assert replica.ledgers.check_signed() == []
    acknowledged = check_acknowledged(ledger, work)
    if task == "append":
        assert acknowledged > 0
        # The follower works behind the log: all that was sent may have its acknowledgement.
        assert check_resolved(ledger, work) > 0 or point.startswith("follower.")
    for name in replica.ledgers.names():
        check_everything(replica, replica.ledgers.get(name), tmp_path)
