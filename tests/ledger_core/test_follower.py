"""The follower: several of them over one database share the work and outlive each other."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger_core import follower
from ledger_core.beside import Standstill
from ledger_core.errors import StorageError
from ledger_core.records.model import Payload
from ledger_core.storage.search import EntryQuery
from ledger_core.storage.views import ViewRow, Views
from ledger_core.viewing import RowMaker, Seen
from tests.support.ledgers import Replica, Service, append_notes, register

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30

FILLER = """
import sys, time
from ledger_core.storage.database import open_database
with open_database(sys.argv[1]).filling() as is_ours:
    print(is_ours, flush=True)
    time.sleep(600)
"""


@contextmanager
def a_filler(database_url: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that is filling the views, and does not come to an end."""
    command = [sys.executable, "-c", FILLER, database_url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "True\n"
            yield process
        finally:
            process.kill()


def test_two_followers_compute_each_entry_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: Counter[int] = Counter()
    compute = RowMaker.make

    def counted(maker: RowMaker, seen: Seen, payload: Payload) -> ViewRow:
        computed[seen.index] += 1
        return compute(maker, seen, payload)

    monkeypatch.setattr(RowMaker, "make", counted)
    replicas = [service.open(), service.open()]
    replicas[0].ledgers.create("main")
    ledgers = [replica.ledgers.get("main") for replica in replicas]
    author = register(ledgers[0])
    for turn in range(20):
        append_notes(ledgers[turn % 2], author, 40)
        for ledger in ledgers:
            size = ledger.size()
            assert ledger.wait_until_searchable(size, PATIENCE_S) >= size
    assert set(computed) == set(range(ledgers[0].size()))
    assert set(computed.values()) == {1}
    for ledger in ledgers:
        assert len(ledger.search(EntryQuery(type="note/1", limit=1000)).indexes) == 800


def test_a_follower_takes_over_from_one_that_is_killed_and_looks_on_until_then(
    service: Service,
) -> None:
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    size = ledger.size()
    assert ledger.wait_until_searchable(size, PATIENCE_S) == size
    with a_filler(service.database_url) as filler:
        append_notes(ledger, author, 5)
        assert ledger.wait_until_searchable(size + 5, 0.5) == size
        filler.kill()
        filler.wait()
        assert ledger.wait_until_searchable(size + 5, PATIENCE_S) == size + 5


class Beside:
    """A keeper that a test can end: the follower of another replica."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.is_there = True

    def lives(self) -> bool:
        return self.is_there

    def hurry(self, ledger_id: int) -> None:
        self.replica.ledgers.follower.hurry({ledger_id})


def test_who_has_a_keeper_fills_nothing_until_it_has_ended(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[Views] = []
    fill = Views.fill

    def counted(views: Views, ledger_id: int, rows: Sequence[ViewRow]) -> int:
        filled.append(views)
        return fill(views, ledger_id, rows)

    monkeypatch.setattr(Views, "fill", counted)
    beside = Beside(service.open(is_started=False))
    beside.replica.ledgers.keep()
    served = service.open(keeper=beside)
    ledger = served.ledgers.create("main")
    author = register(ledger)
    append_notes(ledger, author, 5)
    assert ledger.wait_until_searchable(7, PATIENCE_S) == 7
    assert set(filled) == {beside.replica.ledgers.views}
    beside.replica.ledgers.follower.close()
    beside.is_there = False
    append_notes(ledger, author, 5)
    assert ledger.wait_until_searchable(12, PATIENCE_S) == 12
    assert len(ledger.search(EntryQuery(type="note/1", limit=100)).indexes) == 10
    assert set(filled) == {beside.replica.ledgers.views, served.ledgers.views}


def test_what_others_append_is_looked_for_again_however_long_it_took_to_fill(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_LOOK_SHARE", 100)
    fill = Views.fill

    def slowly(views: Views, ledger_id: int, rows: Sequence[ViewRow]) -> int:
        time.sleep(1)
        return fill(views, ledger_id, rows)

    monkeypatch.setattr(Views, "fill", slowly)
    ledger = service.open(is_started=False).ledgers.create("main")
    author = register(ledger)
    keeper = service.open(is_started=False)
    keeper.ledgers.keep()
    end_s = time.monotonic() + PATIENCE_S
    for size in (7, 12):
        append_notes(ledger, author, 5)
        while keeper.ledgers.views.progress(ledger.ledger_id) < size:
            assert time.monotonic() < end_s
            time.sleep(0.05)


def test_a_keeper_that_goes_on_with_something_else_is_noticed() -> None:
    standstill = Standstill("views")
    standstill.look({1: 5, 2: 9}, {1: 5}, 0)
    standstill.look({1: 6, 2: 9}, {1: 5, 2: 4}, 59)
    standstill.look({1: 6, 2: 9}, {1: 6, 2: 8}, 118)
    standstill.look({1: 6, 2: 9}, {1: 6, 2: 8}, 178)
    with pytest.raises(StorageError, match="no views"):
        standstill.look({1: 7, 2: 9}, {1: 7, 2: 8}, 179)
    standstill.look({1: 7, 2: 9}, {1: 7, 2: 9}, 180)


def test_only_one_process_at_a_time_fills_and_nobody_waits_for_it(service: Service) -> None:
    one, other = service.open().database, service.open().database
    began = time.monotonic()
    with one.filling() as is_ours, other.filling() as is_theirs:
        assert (is_ours, is_theirs) == (True, False)
    assert time.monotonic() - began < PATIENCE_S
    with other.filling() as is_theirs, one.filling() as is_ours:
        assert (is_ours, is_theirs) == (False, True)


def test_who_waits_for_what_another_process_wrote_waits_for_no_look_at_every_ledger(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_LOOK_SHARE", 1_000_000)
    replicas = [service.open(), service.open()]
    replicas[0].ledgers.create("main")
    ledgers = [replica.ledgers.get("main") for replica in replicas]
    author = register(ledgers[0])
    for ledger in ledgers:
        assert ledger.wait_until_searchable(ledger.size(), PATIENCE_S) >= 2
    append_notes(ledgers[0], author, 3)
    assert ledgers[1].wait_until_searchable(5, PATIENCE_S) >= 5
