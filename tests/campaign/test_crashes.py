"""kill -9 at random moments under load, on both databases; and the death of the database itself."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from ledger_core.errors import LedgerGridError
from tests.crash.harness import check_acknowledged, check_resolved, prepare, read_lines
from tests.crash.load import LEDGER, Work, main
from tests.support.invariants import check_everything
from tests.support.ledgers import Service, append_notes, appended, register
from tests.support.postgresql import Server, postgresql

pytestmark = pytest.mark.campaign

KILLS = 200
CHECK_EVERYTHING_EACH = 40
LONGEST_LIFE_S = 0.25
TIMEOUT_S = 60

# A server forks the processes that get killed, with everything imported already.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.crash.load"])


def test_what_was_acknowledged_survives_kills_at_200_random_moments(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two replicas at a time, of which one is killed; then the other, some time later."""
    prepare(service)
    service.close()
    moments = random.Random(0)
    acknowledged = unresolved = 0
    for number in range(0, KILLS, 2):
        works = [
            Work(service.database_url, service.memory_url, str(tmp_path), f"load-{number + n}")
            for n in range(2)
        ]
        kill_one_after_the_other(works, moments)
        replica = service.open()
        ledger = replica.ledgers.get(LEDGER)
        assert replica.ledgers.check_signed() == []
        for work in works:
            acknowledged += check_acknowledged(ledger, work)
            unresolved += check_resolved(ledger, work)
        if number % CHECK_EVERYTHING_EACH == 0 or number == KILLS - 2:
            check_everything(replica, ledger, tmp_path)
        service.close()
    with capsys.disabled():
        kind = service.database_url.partition(":")[0]
        print(
            f"\n{KILLS} kills on {kind}: {acknowledged} acknowledged records, all there, once and "
            f"proven; {unresolved} were on their way and went in when sent again"
        )
    assert acknowledged > KILLS


def kill_one_after_the_other(works: list[Work], moments: random.Random) -> None:
    processes: list[BaseProcess] = [PROCESSES.Process(target=main, args=(work,)) for work in works]
    for process in processes:
        process.start()
    try:
        wait_until_under_load(works, processes)
        for process in processes:
            time.sleep(moments.uniform(0, LONGEST_LIFE_S))
            process.kill()
            process.join(TIMEOUT_S)
            assert process.exitcode == -signal.SIGKILL
    finally:
        for process in processes:
            process.kill()  # Whatever went wrong, nobody goes on appending.


def wait_until_under_load(works: list[Work], processes: list[BaseProcess]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not all(any(read_lines(work.file("acked"))) for work in works):
        assert all(process.is_alive() for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def durable_server() -> Iterator[Server]:
    with postgresql(fsync=True) as server:
        yield server


def test_a_postgresql_that_dies_under_load_takes_no_acknowledgement_with_it(
    durable_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service lives on, says what it does not know, and goes on when the server is back."""
    service = Service(durable_server.url(durable_server.create_database()), tmp_path)
    replica = service.open()
    ledger = replica.ledgers.create(LEDGER)
    author = register(ledger)
    kept, errors = append_notes(ledger, author, 5), 0
    for _ in range(5):
        sealed = author.note("on its way")
        durable_server.crash()
        with pytest.raises(LedgerGridError):
            ledger.append([sealed])
        errors += 1
        durable_server.start()
        kept.append(appended(ledger.append([sealed])[0]))
    for place in kept:
        assert ledger.receipt(place.index) == place.receipt
    check_everything(replica, ledger, tmp_path)
    service.close()
    with capsys.disabled():
        print(f"\n{errors} deaths of PostgreSQL: nothing acknowledged was lost")
