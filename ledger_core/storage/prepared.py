"""Statements of the hot paths, compiled once and handed to the driver as text.

SQLAlchemy looks up, binds and wraps anew at every execution: 20 to 30 µs each on SQLite and
70 on PostgreSQL, several times what the driver takes. What a statement says stays SQLAlchemy's
to compile, errors are its own, and so are connections and commits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ARRAY, Boolean, Connection, bindparam, func
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement, ColumnElement

Row = tuple[Any, ...]
Value = TypeVar("Value")
Bound = tuple[str, Sequence[Any]]

_LIST_VALUES = 8_192
"""A list of more is asked for in parts: SQLite takes 32,766 values a statement."""

_NAMED = re.compile(r"%\((\w+)\)s")


class Among(ColumnElement[bool]):
    """``column`` is one of the values of list ``name``: an array where there are arrays."""

    type = Boolean()

    def __init__(self, column: ColumnElement[Any], name: str) -> None:
        self.column, self.name = column, name

    def self_group(self, against: Any = None) -> Among:
        """Stand as it is: SQLAlchemy would write ``= 1`` behind it, and no index would serve."""
        return self


@compiles(Among)
def _compile_in(element: Among, compiler: SQLCompiler, **options: Any) -> str:
    text: str = compiler.process(element.column.in_(bindparam(element.name, expanding=True)))
    return text


@compiles(Among, "postgresql")
def _compile_any(element: Among, compiler: SQLCompiler, **options: Any) -> str:
    values = bindparam(element.name, type_=ARRAY(element.column.type))
    text: str = compiler.process(element.column == func.any(values))
    return text


class _Compiled(NamedTuple):
    """The driver's text, and its parameters in their order.

    Each is named; one of a list's values has its place in the list as well.
    """

    text: str
    order: Sequence[tuple[str, int | None]]


class Prepared:
    """A statement whose parameters are all named; ``lists`` are those of :class:`Among`."""

    def __init__(self, statement: ClauseElement, *, lists: Sequence[str] = ()) -> None:
        self._statement = statement
        self._lists = lists
        self._compiled: dict[tuple[str, tuple[int, ...]], _Compiled] = {}

    def rows(self, tx: Connection, **values: Any) -> list[Row]:
        """Run a query; return all its rows."""
        return query_all(tx, [self.bind(tx, **values)])[0]

    def row(self, tx: Connection, **values: Any) -> Row | None:
        """Run a query; return its first row, if it has one."""
        rows = self.rows(tx, **values)
        return rows[0] if rows else None

    def run(self, tx: Connection, **values: Any) -> int:
        """Run a change; return how many rows it changed."""
        return change(tx, *self.bind(tx, **values))

    def bind(self, tx: Connection, **values: Any) -> Bound:
        """Return the text and the values that the driver takes."""
        dialect = tx.dialect.name
        lengths: tuple[int, ...] = ()
        if self._lists and dialect == "sqlite":
            for name in self._lists:
                values[name] = _padded(values[name])
            lengths = tuple([len(values[name]) for name in self._lists])
        compiled = self._compiled.get((dialect, lengths))
        if compiled is None:
            compiled = self._compiled[dialect, lengths] = self._compile(tx, values)
        return compiled.text, [
            values[name] if at is None else values[name][at] for name, at in compiled.order
        ]

    def _compile(self, tx: Connection, values: Mapping[str, Any]) -> _Compiled:
        compiled = self._statement.compile(dialect=tx.dialect)
        assert isinstance(compiled, SQLCompiler)
        state = compiled.construct_expanded_state(dict(values))
        if state.positiontup is not None:
            places: dict[str, tuple[str, int | None]] = {
                f"{name}_{at + 1}": (name, at)
                for name in self._lists
                for at in range(len(values[name]))
            }
            order = [places.get(name, (name, None)) for name in state.positiontup]
            return _Compiled(state.statement, order)
        # By position and in binary: by name, psycopg writes arrays out as text.
        names = _NAMED.findall(state.statement)
        return _Compiled(_NAMED.sub("%b", state.statement), [(name, None) for name in names])


def in_parts(values: Collection[Value]) -> Iterator[list[Value]]:
    """Yield the values in lists that a statement takes."""
    every = list(values)
    for at in range(0, len(every), _LIST_VALUES):
        yield every[at : at + _LIST_VALUES]


def _padded(values: list[Any]) -> list[Any]:
    """Repeat the last value up to a power of two, so that few lengths are ever compiled."""
    return values + values[-1:] * ((1 << max(len(values) - 1, 0).bit_length()) - len(values))


def query_all(tx: Connection, queries: Sequence[Bound]) -> list[list[Row]]:
    """Have the driver run queries, each after the other but sent at once; return their rows."""
    driver = _begun(tx)
    try:
        if len(queries) == 1 or tx.dialect.name != "postgresql":
            return [driver.execute(text, values).fetchall() for text, values in queries]
        with driver.pipeline():
            cursors = [driver.execute(text, values) for text, values in queries]
        return [cursor.fetchall() for cursor in cursors]
    except tx.dialect.loaded_dbapi.Error as error:
        raise _told(tx, error) from error


def query_alone(tx: Connection, text: str, values: Sequence[Any]) -> list[Row]:
    """Have the driver run one query outside any transaction; return its rows."""
    rows: list[Row] = run_alone(tx, text, values).fetchall()
    return rows


def run_alone(tx: Connection, text: str, values: Sequence[Any] = ()) -> Any:
    """Have the driver run a statement, and begin nothing before it; return its cursor."""
    driver = tx.connection.driver_connection
    assert driver is not None
    try:
        return driver.execute(text, values)
    except tx.dialect.loaded_dbapi.Error as error:
        raise _told(tx, error) from error


def commit(tx: Connection) -> None:
    """Commit what was begun, by SQLAlchemy if it knows of it."""
    if tx.in_transaction():
        tx.commit()
        return
    driver = tx.connection.driver_connection
    assert driver is not None
    try:
        driver.commit()
    except tx.dialect.loaded_dbapi.Error as error:
        raise _told(tx, error) from error


def sent_at_once(tx: Connection) -> AbstractContextManager[None]:
    """Let the changes made in the block share one way to the database and back.

    On PostgreSQL they become one statement at its end, which is when it raises what is wrong with
    one of them. None sees what another does: no two may change the same row.
    """
    return _NOTHING if tx.dialect.name == "sqlite" else _joining(tx)


_NOTHING: AbstractContextManager[None] = nullcontext()
_JOINED = "changes to be sent at once"


@contextmanager
def _joining(tx: Connection) -> Iterator[None]:
    changes: list[Bound] = []
    tx.info[_JOINED] = changes
    try:
        yield
    finally:
        del tx.info[_JOINED]
    if changes:
        *others, (last, _) = changes
        joined = ",".join([f"c{at} AS ({text})" for at, (text, _) in enumerate(others)])
        values = [value for _, values in changes for value in values]
        change(tx, f"WITH {joined} {last}" if others else last, values)


def change(tx: Connection, text: str, values: Sequence[Any]) -> int:
    """Have the driver run a change; return how many rows it changed, if it was not sent at once."""
    if tx.dialect.name == "postgresql" and (joined := tx.info.get(_JOINED)) is not None:
        joined.append((text, values))
        return 0
    driver = _begun(tx)
    try:
        count: int = driver.execute(text, values).rowcount
        return count
    except tx.dialect.loaded_dbapi.Error as error:
        raise _told(tx, error) from error


def change_many(tx: Connection, text: str, rows: Sequence[Row]) -> None:
    """Have the driver run a change once for each row of values."""
    driver = _begun(tx)
    try:
        driver.executemany(text, rows)
    except tx.dialect.loaded_dbapi.Error as error:
        raise _told(tx, error) from error


def _begun(tx: Connection) -> Any:
    """Return the driver's own connection, in a transaction; PostgreSQL's begins one by itself."""
    driver: Any = tx.connection.driver_connection
    if tx.dialect.name == "sqlite" and not driver.in_transaction:
        tx.begin()
    return driver


def _told(tx: Connection, error: Any) -> Exception:
    """Return SQLAlchemy's word for a driver's error; do as it does with a lost connection."""
    is_lost = tx.dialect.is_disconnect(error, tx.connection.driver_connection, None)
    if is_lost:
        # What else lies in the pool was lost with it: SQLAlchemy sees to that when it is told.
        with suppress(DBAPIError):
            tx.exec_driver_sql("SELECT 1")
    base = tx.dialect.loaded_dbapi.Error
    told: Exception = DBAPIError.instance(None, None, error, base, connection_invalidated=is_lost)
    return told
