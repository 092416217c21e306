"""A key store in a database of its own: a SQLite file, or a second PostgreSQL database.

A row of ``keys`` never moves and is never deleted: rows are only added at the end, and a key is
destroyed by writing zeros over it. On SQLite that leaves nothing behind: the page is overwritten
in place, and the write-ahead log, which still has the page as it was, is written back and cut to
nothing before a destruction returns. On PostgreSQL no query finds it any more; but its bytes may
stay in a page until that is used again, and in the write-ahead log until that is overwritten:
docs/guides/operator.md says what to do about it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    bindparam,
    event,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite

from ledger_core.errors import StorageError
from ledger_core.fail_points import reach
from ledger_core.keystore.model import DataKey
from ledger_core.storage.database import Database, open_database
from ledger_core.storage.prepared import Among, Prepared, change, change_many

_SCRUB_S = 30.0
_SCRUB_AGAIN_S = 0.02

_metadata = MetaData()
_keys = Table(
    "keys",
    _metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", LargeBinary, nullable=False, unique=True),
    Column("key", LargeBinary, nullable=False),
    Column("is_destroyed", Integer, nullable=False),
)
_destroyed = Table(
    "destroyed",
    _metadata,
    Column("commitment", LargeBinary, primary_key=True),
    Column("order", LargeBinary, nullable=False),
)

_k, _d = _keys.c, _destroyed.c
_FIND = Prepared(select(_k.id, _k.key, _k.is_destroyed).where(Among(_k.id, "ids")), lists=["ids"])
_FIND_DESTROYED = Prepared(
    select(_d.commitment, _d.order).where(Among(_d.commitment, "commitments")),
    lists=["commitments"],
)
_ANY_DESTROYED = Prepared(select(exists(select(_d.commitment))))
# Made by hand, because SQLAlchemy takes longer over thousands of rows than the database does.
_ADD_ROWS = "INSERT INTO keys (id, key, is_destroyed) VALUES (?, ?, 0)"
_ADD_ARRAYS = (
    "INSERT INTO keys (id, key, is_destroyed) "
    "SELECT id, key, 0 FROM unnest(%b::bytea[], %b::bytea[]) AS new (id, key)"
)
_BURY = {
    "sqlite": lite.insert(_destroyed).on_conflict_do_nothing(),
    "postgresql": pg.insert(_destroyed).on_conflict_do_nothing(),
}


class DatabaseKeyStore:
    """Keys in two tables, shared by all processes of a service."""

    def __init__(self, url: str) -> None:
        self._database = _open(url)
        self._has_destroyed = False
        self._is_file = self._database.dialect.name == "sqlite"
        with self._database.dialect.write_lock():
            _metadata.create_all(self._database.engine)

    def add(self, keys: Collection[DataKey]) -> None:
        with self._database.write() as tx:
            if self._is_file:
                change_many(tx, _ADD_ROWS, [(each.id, each.key) for each in keys])
            else:
                change(tx, _ADD_ARRAYS, ([each.id for each in keys], [each.key for each in keys]))
            reach("keystore.before-commit")
        reach("keystore.after-commit")

    def find(self, ids: Collection[bytes]) -> dict[bytes, bytes]:
        if not ids:
            return {}
        with self._database.read() as tx:
            return {row[0]: row[1] for row in _FIND.rows(tx, ids=list(ids)) if not row[2]}

    def destroy(self, keys: Mapping[bytes, bytes | None], order: bytes) -> None:
        graves = [{"commitment": commitment, "order": order} for commitment in keys]
        lost = [{"lost": key_id} for key_id in keys.values() if key_id is not None]
        erase = update(_keys).where(_k.id == bindparam("lost"))
        with self._database.write() as tx:
            if graves:
                tx.execute(_BURY[self._database.dialect.name], graves)
            if lost:
                tx.execute(erase.values(key=self._nothing(), is_destroyed=1), lost)
            reach("keystore.before-destroyed")
        reach("keystore.destroyed")
        self._scrub()

    def find_destroyed(self, commitments: Collection[bytes]) -> dict[bytes, bytes]:
        if not commitments:
            return {}
        if not self._has_destroyed:
            # For good: nobody takes a tombstone away.
            self._has_destroyed = bool(self._database.look(_ANY_DESTROYED)[0][0])
        if not self._has_destroyed:
            return {}
        return dict(self._database.look(_FIND_DESTROYED, commitments=list(commitments)))

    def find_unknown(self, ids: Collection[bytes]) -> set[bytes]:
        if not ids:
            return set()
        with self._database.read() as tx:
            return set(ids) - {row[0] for row in _FIND.rows(tx, ids=list(ids))}

    def count(self) -> int:
        query = select(func.count()).select_from(_keys).where(_k.is_destroyed == 0)
        with self._database.read() as tx:
            return int(tx.execute(query).scalar_one())

    def close(self) -> None:
        self._database.close()

    # --- what is left of a destroyed key ---------------------------------------------

    def _nothing(self) -> Any:
        """Return what is written over a key: on SQLite as many zeros, so that no row moves."""
        return func.zeroblob(func.length(_k.key)) if self._is_file else b""

    def _scrub(self) -> None:
        """Leave nothing of destroyed keys behind, as far as this database can reach."""
        if self._is_file:
            self._empty_log()
        else:
            self._database.vacuum(_keys)

    def _empty_log(self) -> None:
        """Write SQLite's write-ahead log back into the file, and cut it to nothing.

        Whoever reads from the log keeps it from being cut, for as long as the read takes.
        """
        end_s = time.monotonic() + _SCRUB_S
        while not self._database.empty_log():
            if time.monotonic() > end_s:
                raise StorageError("keys were destroyed, but others still read the log they are in")
            time.sleep(_SCRUB_AGAIN_S)


def _open(url: str) -> Database:
    database = open_database(url)
    if database.dialect.name == "sqlite":
        path = Path(str(database.engine.url.database))
        # SQLite gives its other files the mode of this one.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        event.listen(database.engine, "connect", _overwrite_what_is_deleted)
    return database


def _overwrite_what_is_deleted(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA secure_delete=ON")
    # Statement journals hold pages as they were: they stay out of files.
    connection.execute("PRAGMA temp_store=MEMORY")
