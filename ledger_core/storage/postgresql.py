"""What only PostgreSQL needs: bulk inserts in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Connection, Engine, Integer, LargeBinary, Table, create_engine
from sqlalchemy.dialects.postgresql import TSVECTOR

from ledger_core.storage.prepared import change


def open_engine(url: str) -> Engine:
    """Open a PostgreSQL database through psycopg 3.

    What a role or database may have set otherwise, a commit here is on disk when it returns.
    A connection that broke while it was idle is found by its next use, which stores nothing.
    Plans are made for each query: one kept from when a ledger was empty would read all of it.
    """
    options = "-c synchronous_commit=on -c plan_cache_mode=force_custom_plan"
    return create_engine(url, pool_size=20, max_overflow=20, connect_args={"options": options})


_FILLING = 7164
"""Number of the advisory lock of whoever fills the views."""

_WITNESSING = 7165
"""Number of the advisory lock of whoever asks witnesses."""


_INDEXING = 7169
"""Number of the advisory lock of whoever fills the full text."""

_ERASING = 7166
"""Number of the advisory lock of whoever carries out orders to erase."""


class Postgresql:
    """The dialect: how to write, in bulk."""

    name = "postgresql"
    has_one_writer = False

    def close(self) -> None:
        """There is nothing to close."""

    def write_lock(self) -> AbstractContextManager[None]:
        """Let everyone in: the head row's lock orders the writers of one ledger."""
        return nullcontext()

    def begin_write(self, tx: Connection) -> None:
        """Do nothing: the driver begins with the first statement, in the same way to the server."""

    @contextmanager
    def filling(self, views: Engine) -> Iterator[bool]:
        """Say whether the caller alone may fill the views meanwhile; wait for nobody."""
        with _try_lock(views, _FILLING) as is_ours:
            yield is_ours

    @contextmanager
    def indexing(self, views: Engine) -> Iterator[bool]:
        """Say whether the caller alone may fill the full text meanwhile; wait for nobody."""
        with _try_lock(views, _INDEXING) as is_ours:
            yield is_ours

    @contextmanager
    def witnessing(self, engine: Engine) -> Iterator[bool]:
        """Say whether the caller alone may ask witnesses meanwhile; wait for nobody."""
        with _try_lock(engine, _WITNESSING) as is_ours:
            yield is_ours

    @contextmanager
    def erasing(self, engine: Engine) -> Iterator[bool]:
        """Say whether the caller alone may erase meanwhile; wait for nobody."""
        with _try_lock(engine, _ERASING) as is_ours:
            yield is_ours

    def is_broken_by(self, error: BaseException | None) -> bool:
        """Say no: a PostgreSQL whose disk fails stops itself and recovers from its log."""
        return False

    def insert_many(self, tx: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows given in the order of the table's columns, many as one array a column."""
        if len(rows) == 1:
            change(tx, _insert_row_statement(table), rows[0])
            return
        change(tx, _insert_statement(table), _columns(rows))

    def update_many(
        self,
        tx: Connection,
        table: Table,
        key: tuple[str, ...],
        values: tuple[str, ...],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Set columns ``values`` of the rows that ``key`` names; rows are values, then key."""
        change(tx, _update_statement(table, key, values), _columns(rows))

    def add_many(
        self,
        tx: Connection,
        table: Table,
        key: tuple[str, ...],
        sums: tuple[str, ...],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Add to columns ``sums`` of the rows that ``key`` names, which may be new."""
        change(tx, _add_statement(table, key, sums), _columns(rows))


def _columns(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))


@contextmanager
def _try_lock(engine: Engine, number: int) -> Iterator[bool]:
    """Hold an advisory lock, unless somebody has it; say whether it is held.

    A transaction of its own holds the lock, so it ends with the connection.
    """
    with engine.connect() as tx:
        yield tx.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({number})").scalar_one()


@cache
def _insert_row_statement(table: Table) -> str:
    names = ",".join(f'"{column.name}"' for column in table.columns)
    places = ",".join(
        "%b::tsvector" if isinstance(column.type, TSVECTOR) else "%b" for column in table.columns
    )
    return f"INSERT INTO {table.fullname} ({names}) VALUES ({places})"


@cache
def _insert_statement(table: Table) -> str:
    names = ",".join(f'"{column.name}"' for column in table.columns)
    arrays = ",".join(f"%b::{_array_type(column.type)}" for column in table.columns)
    return f"INSERT INTO {table.fullname} ({names}) SELECT * FROM unnest({arrays})"


@cache
def _add_statement(table: Table, key: tuple[str, ...], sums: tuple[str, ...]) -> str:
    names = ",".join(f'"{name}"' for name in (*key, *sums))
    arrays = ",".join(f"%b::{_array_type(table.columns[name].type)}" for name in (*key, *sums))
    named = ",".join(f'"{name}"' for name in key)
    added = ",".join(f'"{name}" = old."{name}" + excluded."{name}"' for name in sums)
    return (
        f"INSERT INTO {table.fullname} AS old ({names}) SELECT * FROM unnest({arrays}) "
        f"ON CONFLICT ({named}) DO UPDATE SET {added}"
    )


@cache
def _update_statement(table: Table, key: tuple[str, ...], values: tuple[str, ...]) -> str:
    named = (*values, *key)
    arrays = ",".join(f"%b::{_array_type(table.columns[name].type)}" for name in named)
    names = ",".join(f'"{name}"' for name in named)
    changes = ",".join(f'"{name}" = new."{name}"' for name in values)
    this = " AND ".join(f'old."{name}" = new."{name}"' for name in key)
    return (
        f"UPDATE {table.fullname} AS old SET {changes} "
        f"FROM unnest({arrays}) AS new({names}) WHERE {this}"
    )


def _array_type(kind: Any) -> str:
    if isinstance(kind, LargeBinary):
        return "bytea[]"
    if isinstance(kind, TSVECTOR):
        return "tsvector[]"
    if isinstance(kind, BigInteger):
        return "bigint[]"
    return "integer[]" if isinstance(kind, Integer) else "text[]"
