"""Several processes append to one ledger at once, on both databases."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.crash.harness import check_acknowledged, prepare, read_lines, start, wait
from tests.crash.load import LEDGER, Work
from tests.support.invariants import check_everything
from tests.support.ledgers import Service

PROCESSES, APPENDS, SHARED = 4, 500, 50


def test_four_processes_append_500_records_each_without_a_gap_or_a_second_entry(
    service: Service, tmp_path: Path
) -> None:
    prepare(service)
    service.close()
    works = [
        Work(
            service.database_url,
            service.memory_url,
            str(tmp_path),
            f"load-{number}",
            count=APPENDS - SHARED,
            shared=SHARED,
        )
        for number in range(PROCESSES)
    ]
    processes = [start(work) for work in works]
    assert [wait(process) for process in processes] == [0] * PROCESSES

    replica = service.open()
    ledger = replica.ledgers.get(LEDGER)
    assert [check_acknowledged(ledger, work) for work in works] == [APPENDS] * PROCESSES
    assert ledger.size() == 2 + PROCESSES * (APPENDS - SHARED) + SHARED
    check_everything(replica, ledger, tmp_path)


def test_a_replica_that_is_paused_in_mid_batch_loses_nothing_and_breaks_nothing(
    service: Service, tmp_path: Path
) -> None:
    """Whoever holds the lock when it is paused keeps the others waiting, and no longer."""
    ledger = prepare(service)
    service.close()
    here = Work(service.database_url, service.memory_url, str(tmp_path), "here", count=150)
    there = Work(service.database_url, service.memory_url, str(tmp_path), "there", count=150)
    paused, other = start(here), start(there)
    for _ in range(8):
        while not here.file("acked").exists() and paused.poll() is None:
            time.sleep(0.01)
        paused.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        paused.send_signal(signal.SIGCONT)
        time.sleep(0.03)
    assert [wait(paused), wait(other)] == [0, 0]

    replica = service.open()
    ledger = replica.ledgers.get(LEDGER)
    assert [check_acknowledged(ledger, work) for work in (here, there)] == [150, 150]
    assert len(list(read_lines(here.file("sent")))) >= 150
    assert ledger.size() == 2 + 300
    check_everything(replica, ledger, tmp_path)
