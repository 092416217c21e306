"""What only SQLite needs: WAL, a full sync on every commit, and one writer at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.engine import make_url

from ledger_core.errors import SettingsError
from ledger_core.storage.prepared import change_many, run_alone

BUSY_TIMEOUT_S = 30


def open_engine(url: str, *, durable: bool = True) -> Engine:
    """Open a SQLite file. ``durable=False`` is for what can be rebuilt."""
    path = make_url(url).database
    if not path or path == ":memory:":
        raise SettingsError("SQLite needs a file, not a database in memory")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        pool_size=20,
        # The connection used last has the pages in its cache.
        pool_use_lifo=True,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # The driver's own idea of when to begin a transaction is switched off; see _begin.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        # Without it REPLACE deletes rows behind the guards' back.
        connection.execute("PRAGMA recursive_triggers=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        if not driver.in_transaction:  # Else it is a writer, begun without SQLAlchemy's knowledge.
            immediate = connection.get_execution_options().get("write", False)
            driver.execute("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def is_damage(error: BaseException | None) -> bool:
    """Say whether an error means that the file is not, or no longer, a sound database."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Sqlite:
    """The dialect: how to write, in bulk and alone."""

    name = "sqlite"
    has_one_writer = True

    def __init__(self, engine: Engine) -> None:
        self._write_lock = _WriteLock(f"{engine.url.database}.lock")

    def close(self) -> None:
        self._write_lock.close()

    def write_lock(self) -> AbstractContextManager[None]:
        """Let one writer in at a time, in order, across threads and processes.

        SQLite's own busy handler sleeps and retries; a blocking file lock wakes the next
        writer at once.
        """
        return self._write_lock

    def begin_write(self, tx: Connection) -> None:
        """Begin a write transaction by the driver alone: SQLAlchemy takes longer to than SQLite."""
        run_alone(tx, "BEGIN IMMEDIATE")

    @contextmanager
    def filling(self, views: Engine) -> Iterator[bool]:
        """Say whether the caller alone may fill the views meanwhile; wait for nobody."""
        with _try_lock(f"{views.url.database}.lock") as is_ours:
            yield is_ours

    @contextmanager
    def indexing(self, views: Engine) -> Iterator[bool]:
        """Say whether the caller alone may fill the full text meanwhile; wait for nobody."""
        with _try_lock(f"{views.url.database}.indexing") as is_ours:
            yield is_ours

    @contextmanager
    def witnessing(self, engine: Engine) -> Iterator[bool]:
        """Say whether the caller alone may ask witnesses meanwhile; wait for nobody."""
        with _try_lock(f"{engine.url.database}.witnessing") as is_ours:
            yield is_ours

    @contextmanager
    def erasing(self, engine: Engine) -> Iterator[bool]:
        """Say whether the caller alone may erase meanwhile; wait for nobody."""
        with _try_lock(f"{engine.url.database}.erasing") as is_ours:
            yield is_ours

    def is_broken_by(self, error: BaseException | None) -> bool:
        """Say whether a commit's error means that the disk failed; a full disk has not."""
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR

    def insert_many(self, tx: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows given in the order of the table's columns."""
        change_many(tx, _insert_statement(table), rows)

    def update_many(
        self,
        tx: Connection,
        table: Table,
        key: tuple[str, ...],
        values: tuple[str, ...],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Set columns ``values`` of the rows that ``key`` names; rows are values, then key."""
        change_many(tx, _update_statement(table, key, values), rows)

    def add_many(
        self,
        tx: Connection,
        table: Table,
        key: tuple[str, ...],
        sums: tuple[str, ...],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Add to columns ``sums`` of the rows that ``key`` names, which may be new."""
        change_many(tx, _add_statement(table, key, sums), rows)


class _WriteLock:
    """A lock of threads and a lock of the file: of this process's threads one asks for that.

    The file stays open. What is locked is a process's own opening of it: one that was forked
    opens it again.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._threads = threading.Lock()
        # Guarded by _threads.
        self._descriptor: int | None = None
        self._process = 0

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if self._descriptor is None or self._process != os.getpid():
                self._process, self._descriptor = os.getpid(), _open_lock(self._path)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            if self._descriptor is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        with self._threads:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def _open_lock(path: str) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


@contextmanager
def _try_lock(path: str) -> Iterator[bool]:
    """Hold a file for the caller alone, unless somebody has it; say whether it is held."""
    descriptor = _open_lock(path)
    try:
        is_ours = False
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        yield is_ours
    finally:
        os.close(descriptor)


@cache
def _update_statement(table: Table, key: tuple[str, ...], values: tuple[str, ...]) -> str:
    changes = ",".join(f'"{name}" = ?' for name in values)
    this = " AND ".join(f'"{name}" = ?' for name in key)
    return f"UPDATE {table.name} SET {changes} WHERE {this}"


@cache
def _add_statement(table: Table, key: tuple[str, ...], sums: tuple[str, ...]) -> str:
    names = ",".join(f'"{name}"' for name in (*key, *sums))
    places = ",".join("?" * (len(key) + len(sums)))
    named = ",".join(f'"{name}"' for name in key)
    added = ",".join(f'"{name}" = old."{name}" + excluded."{name}"' for name in sums)
    return (
        f"INSERT INTO {table.name} AS old ({names}) VALUES ({places}) "
        f"ON CONFLICT ({named}) DO UPDATE SET {added}"
    )


@cache
def _insert_statement(table: Table) -> str:
    places = ",".join("?" * len(table.columns))
    names = ",".join(f'"{column.name}"' for column in table.columns)
    return f"INSERT INTO {table.name} ({names}) VALUES ({places})"
