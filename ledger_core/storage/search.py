"""Searching the views: which entries match, of those that the reader may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, or_, select, true

from ledger_core.errors import MalformedError
from ledger_core.policy.visibility import OPERATOR, Reader
from ledger_core.storage import store
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.view_tables import AUDIENCE, KEY, ViewTables


@dataclass(frozen=True)
class EntryQuery:
    """Filters, all of which must hold. ``after`` is the cursor: an index, exclusive.

    ``reader``: what it may not see is not found.
    """

    type: str | None = None
    author: str | None = None
    leaf_hash: bytes | None = None
    stream: str | None = None
    ref: bytes | None = None
    received_from: int | None = None
    received_to: int | None = None
    columns: Mapping[str, str | int] = field(default_factory=dict)
    after: int | None = None
    limit: int = 100
    descending: bool = False
    reader: Reader = OPERATOR


@dataclass(frozen=True)
class Page:
    """Indexes found, the cursor of the next page (None at the end), and the size covered."""

    indexes: Sequence[int]
    next: int | None
    size: int


class Search:
    """Finds entries of one ledger in the views."""

    def __init__(self, database: Database, tables: ViewTables, ledger_id: int) -> None:
        self._database = database
        self._tables = tables
        self._ledger_id = ledger_id

    def find(self, query: EntryQuery) -> Page:
        """Return the indexes of matching entries, one page of them."""
        table = self._tables.entries
        index = table.c.index
        statement = select(index).where(
            table.c.ledger_id == self._ledger_id,
            self._is_shown(table, self._tables.readers, query.reader),
        )
        for name in ("type", "author", "stream"):
            value = getattr(query, name)
            if value is not None:
                statement = statement.where(table.c[name] == value)
        if query.leaf_hash is not None:
            statement = statement.where(index.in_(self._find_leaf(query.leaf_hash)))
        if query.received_from is not None:
            statement = statement.where(table.c.received_at >= query.received_from)
        if query.received_to is not None:
            statement = statement.where(table.c.received_at < query.received_to)
        if query.ref is not None:
            refs = self._tables.refs.c
            found = select(refs.index).where(
                refs.ledger_id == self._ledger_id, refs.target == query.ref
            )
            statement = statement.where(index.in_(found))
        if query.columns:
            statement = statement.where(index.in_(self._select_columns(query)))
        if query.after is not None:
            statement = statement.where(
                index < query.after if query.descending else index > query.after
            )
        order = index.desc() if query.descending else index.asc()
        with self._database.use_views() as tx:
            size = self._read_progress(tx)
            rows = tx.execute(statement.order_by(order).limit(query.limit + 1)).scalars().all()
        page = list(rows[: query.limit])
        return Page(page, page[-1] if len(rows) > query.limit else None, size)

    def _find_leaf(self, leaf_hash: bytes) -> list[int]:
        with self._database.read() as tx:
            return list(store.find_indexes(tx, self._ledger_id, {leaf_hash}).values())

    def about(self, subject: str, reader: Reader, after: int | None, limit: int) -> Page:
        """Return the entries about a subject, of those whose payload the reader may see."""
        table = self._tables.subjects
        found = select(table.c.index).where(
            table.c.ledger_id == self._ledger_id, table.c.subject == subject
        )
        return self._page(found, table, self._tables.column_readers, reader, after, limit)

    def changes(
        self,
        kind: str | None,
        target: bytes | None,
        reader: Reader,
        after: int | None,
        limit: int,
    ) -> Page:
        """Return a page of the register of changes, of those that the reader sees."""
        table, targets = self._tables.changes, self._tables.targets.c
        found = select(table.c.index).where(table.c.ledger_id == self._ledger_id)
        if kind is not None:
            found = found.where(table.c.kind == kind)
        if target is not None:
            naming = select(targets.index).where(
                targets.ledger_id == self._ledger_id, targets.target == target
            )
            found = found.where(table.c.index.in_(naming))
        return self._page(found, table, self._tables.readers, reader, after, limit)

    def _page(
        self,
        found: Select[tuple[Any]],
        table: Table,
        readers: Table,
        reader: Reader,
        after: int | None,
        limit: int,
    ) -> Page:
        found = found.where(self._is_shown(table, readers, reader))
        if after is not None:
            found = found.where(table.c.index > after)
        with self._database.use_views() as tx:
            size = self._read_progress(tx)
            rows = tx.execute(found.order_by(table.c.index).limit(limit + 1)).scalars().all()
        page = list(rows[:limit])
        return Page(page, page[-1] if len(rows) > limit else None, size)

    def _read_progress(self, tx: Transaction) -> int:
        progress = self._tables.progress.c
        query = select(progress.size).where(progress.ledger_id == self._ledger_id)
        return tx.execute(query).scalar_one_or_none() or 0

    def _select_columns(self, query: EntryQuery) -> Any:
        table = self._tables.types.get(query.type or "")
        if table is None:
            raise MalformedError("to filter by a type's column, name the type as well")
        unknown = [name for name in query.columns if name not in table.c or name in KEY]
        if unknown:
            raise MalformedError(f"{query.type} has no column {unknown[0]!r} to filter by")
        shown = self._is_shown(table, self._tables.column_readers, query.reader)
        statement = select(table.c.index).where(table.c.ledger_id == self._ledger_id, shown)
        for name, value in query.columns.items():
            statement = statement.where(table.c[name] == value)
        return statement

    def _is_shown(self, table: Table, readers: Table, reader: Reader) -> ColumnElement[bool]:
        return is_shown(table.c[AUDIENCE], table.c.index, readers, self._ledger_id, reader)


def is_shown(
    audience: ColumnElement[str],
    index: ColumnElement[int],
    readers: Table,
    ledger_id: int,
    reader: Reader,
) -> ColumnElement[bool]:
    """Say in SQL what :meth:`Circle.includes` says, of the entry at ``index``."""
    if reader.is_operator:
        return true()
    audiences = ["public", "members"] if reader.is_among_members else ["public"]
    shown: ColumnElement[bool] = audience.in_(audiences)
    if not reader.names:
        return shown
    r = readers.c
    named = select(r.index).where(r.ledger_id == ledger_id, r.reader.in_(sorted(reader.names)))
    return or_(shown, index.in_(named))
