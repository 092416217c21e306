"""SQLite's one writer at a time: across connections, threads, processes and forks."""

from __future__ import annotations

import fcntl
import multiprocessing
import threading
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from ledger_core.errors import StorageError
from ledger_core.storage import tables as t
from ledger_core.storage.database import Database, open_database
from ledger_core.storage.prepared import Prepared

TOKEN = {"role": "reader", "ledger": None, "created_at": 0, "revoked_at": None, "party": None}
ADD = Prepared(insert(t.tokens))


@pytest.fixture
def database(sqlite_url: str) -> Database:
    database = open_database(sqlite_url)
    database.migrate()
    return database


def names(database: Database) -> list[str]:
    with database.read() as tx:
        return sorted(tx.execute(select(t.tokens.c.name)).scalars())


def is_locked(database: Database) -> bool:
    """Try the lock as another process does: by an opening of the file of its own."""
    with Path(f"{database.engine.url.database}.lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_whoever_writes_holds_the_lock_and_lets_go_of_it_also_after_an_error(
    database: Database,
) -> None:
    def fail() -> None:
        with database.write():
            assert is_locked(database)
            raise StorageError("no")

    for _ in range(2):
        with database.write():
            assert is_locked(database)
        assert not is_locked(database)
        with pytest.raises(StorageError):
            fail()
        assert not is_locked(database)
    database.close()
    with database.dialect.write_lock():
        assert is_locked(database)
    database.close()


def test_a_writer_in_another_opening_of_the_file_waits_for_this_one(database: Database) -> None:
    other = open_database(str(database.engine.url))
    order: list[str] = []

    def write_too() -> None:
        with other.write():
            order.append("second")

    waiting = threading.Thread(target=write_too)
    with database.write():
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    other.close()
    database.close()


def test_a_forked_process_does_not_share_its_parents_lock(database: Database) -> None:
    with database.write():
        pass  # The file is open already when the fork comes.
    context = multiprocessing.get_context("fork")
    is_held, was_let_in = context.Event(), context.Event()
    child = context.Process(target=_lock_once, args=(database, is_held, was_let_in))
    child.start()
    with database.dialect.write_lock():
        is_held.set()
        assert not was_let_in.wait(0.2)
    assert was_let_in.wait(10)
    child.join(10)
    assert child.exitcode == 0
    database.close()


def _lock_once(database: Database, is_held: Event, was_let_in: Event) -> None:
    is_held.wait(10)
    with database.dialect.write_lock():
        was_let_in.set()


def test_sqlalchemy_and_the_driver_may_write_in_one_transaction(database: Database) -> None:
    """Begun by the driver alone: SQLAlchemy joins, and neither begins nor commits by itself."""
    with database.write() as tx:
        tx.execute(insert(t.tokens).values(name="a", digest=b"a", **TOKEN))
        ADD.run(tx, name="b", digest=b"b", **TOKEN)
    with database.write() as tx:
        ADD.run(tx, name="c", digest=b"c", **TOKEN)
    assert names(database) == ["a", "b", "c"]

    def fail(by_driver_only: bool) -> None:
        with database.write() as tx:
            ADD.run(tx, name="d", digest=b"d", **TOKEN)
            if not by_driver_only:
                tx.execute(insert(t.tokens).values(name="e", digest=b"e", **TOKEN))
            raise StorageError("no")

    for by_driver_only in (True, False):
        with pytest.raises(StorageError):
            fail(by_driver_only)
        assert names(database) == ["a", "b", "c"]
    database.close()
