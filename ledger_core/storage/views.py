"""Views: what is filtered and searched, computed from the log and thrown away at will.

On SQLite they are a file of their own, on PostgreSQL a schema of UNLOGGED tables: they
never enter a backup. Their version is the digest of their definition; another version
than the stored one means: drop, make, fill again.

Each entry stands in them with its circle, who sees it, so that a search counts nothing that
its reader may not see: neither an item of a page, nor a place in a cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    delete,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateSchema, CreateTable

from ledger_core.errors import MalformedError, StorageError
from ledger_core.policy.visibility import OPERATOR, Circle, Reader
from ledger_core.records import registry
from ledger_core.records.model import RecordType
from ledger_core.storage.database import Database, Transaction

SCHEMA = "ledgergrid_views"


class ViewRow(msgspec.Struct, frozen=True):
    """One entry as the views see it; ``columns`` are those its type declares.

    ``circle``: who sees the entry; ``columns_circle``: who sees what columns and subjects are
    made of. ``change``: its kind in the register of changes, ``targets`` the entries it names.
    """

    index: int
    type: str
    author: str
    received_at: int
    leaf_hash: bytes
    stream: str | None
    refs: Sequence[bytes]
    columns: Mapping[str, str | int | None]
    circle: Circle
    columns_circle: Circle
    subjects: Sequence[str] = ()
    change: str | None = None
    targets: Sequence[bytes] = ()


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


class Views:
    """The views of every ledger. ``fill`` and ``search`` may run in several processes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        schema = SCHEMA if database.dialect.name == "postgresql" else None
        self._metadata = MetaData(schema=schema)
        self._define()

    def _define(self) -> None:
        self._version = self._table("version", Column("version", Text))
        size = Column("size", BigInteger, nullable=False)
        self._progress = self._table("progress", _number("ledger_id"), size)
        self._entries = self._table(
            "entry_view",
            _number("ledger_id"),
            _number("index"),
            Column("type", Text, nullable=False),
            Column("author", Text, nullable=False),
            Column("received_at", BigInteger, nullable=False),
            Column("leaf_hash", LargeBinary, nullable=False),
            Column("stream", Text),
            Column("audience", Text, nullable=False),
        )
        for name in ("type", "author", "stream", "leaf_hash", "received_at"):
            _add_index(self._entries, name)
        target = Column("target", LargeBinary, primary_key=True)
        self._refs = self._table("ref_view", _number("ledger_id"), target, _number("index"))
        self._readers = self._reader_table("reader_view")
        self._column_readers = self._reader_table("column_reader_view")
        self._subjects = self._subject_table()
        self._changes = self._change_table()
        target = Column("target", LargeBinary, primary_key=True)
        self._targets = self._table("target_view", _number("ledger_id"), target, _number("index"))
        self._types = {kind.name: self._type_table(kind) for kind in registry.ALL}

    def _type_table(self, kind: RecordType) -> Table:
        columns = [Column(name, _COLUMN_TYPES[of]) for name, of in kind.columns.items()]
        name = kind.name.replace(".", "_").replace("/", "_")
        audience = Column(_AUDIENCE, Text, nullable=False)
        table = self._table(
            f"{name}_view", _number("ledger_id"), _number("index"), audience, *columns
        )
        for column_name in kind.columns:
            _add_index(table, column_name)
        return table

    def _subject_table(self) -> Table:
        subject = Column("subject", Text, primary_key=True)
        audience = Column(_AUDIENCE, Text, nullable=False)
        table = self._table(
            "subject_view", _number("ledger_id"), subject, _number("index"), audience
        )
        Index("subject_view_by_index", table.c.ledger_id, table.c.index)
        return table

    def _change_table(self) -> Table:
        table = self._table(
            "change_view",
            _number("ledger_id"),
            _number("index"),
            Column("kind", Text, nullable=False),
            Column(_AUDIENCE, Text, nullable=False),
        )
        _add_index(table, "kind")
        return table

    def _reader_table(self, name: str) -> Table:
        """Define who sees entries of which the audience alone does not say it."""
        reader = Column("reader", Text, primary_key=True)
        return self._table(name, _number("ledger_id"), reader, _number("index"))

    def _table(self, name: str, *columns: Column[Any]) -> Table:
        prefixes = ["UNLOGGED"] if self._metadata.schema else []
        return Table(name, self._metadata, *columns, prefixes=prefixes)

    def version(self) -> str:
        """Return the digest of the views' definition."""
        dialect = self._database.views.dialect
        made = [str(CreateTable(table).compile(dialect=dialect)) for table in self._sorted()]
        made += self._keep_out_of_statistics()
        return sha256("\n".join(made).encode()).hexdigest()

    def _keep_out_of_statistics(self) -> list[str]:
        """Return what keeps values out of PostgreSQL's statistics: those are logged and backed up.

        A sample of a column's values would outlive its erasure in every base backup.
        """
        if self._metadata.schema is None:
            return []
        return [
            f'ALTER TABLE {table.fullname} ALTER COLUMN "{column.name}" SET STATISTICS 0'
            for table in (*self._types.values(), self._subjects)
            for column in table.columns
            if column.name not in _KEY
        ]

    def _sorted(self) -> list[Table]:
        return sorted(self._metadata.tables.values(), key=lambda table: table.name)

    def ensure(self) -> None:
        """Make the views if they are missing, damaged or of another version; they fill up again."""
        with self._database.dialect.write_lock():
            try:
                is_new = self._ensure()
            except StorageError as error:
                # A damaged file of views is worth nothing: all that is in it comes from the log.
                if not self._database.remove_damaged_views(error):
                    raise
                is_new = self._ensure()
            if is_new:
                self._database.rewrite_views([])

    def _ensure(self) -> bool:
        """Say whether they were made anew."""
        with self._database.use_views(write=True) as tx:
            if self._metadata.schema:
                tx.exec_driver_sql("SELECT pg_advisory_xact_lock(7163)")
                tx.execute(CreateSchema(SCHEMA, if_not_exists=True))
            self._version.create(tx, checkfirst=True)
            if tx.execute(select(self._version.c.version)).scalar() == self.version():
                return False
            self._drop_all(tx)
            self._metadata.create_all(tx)
            for statement in self._keep_out_of_statistics():
                tx.exec_driver_sql(statement)
            tx.execute(insert(self._version).values(version=self.version()))
            return True

    def made_of_payloads(self, type_name: str) -> tuple[Table, ...]:
        """Return the tables in which something of a type's payload may stand."""
        return self._types[type_name], self._subjects

    def _drop_all(self, tx: Transaction) -> None:
        """Drop whatever is there: views of another version may have other tables."""
        if self._metadata.schema:
            tx.exec_driver_sql(f"DROP SCHEMA {SCHEMA} CASCADE")
            tx.execute(CreateSchema(SCHEMA))
            return
        found = MetaData()
        found.reflect(tx)
        found.drop_all(tx)

    def rebuild(self) -> None:
        """Forget everything, to be filled again."""
        filled = [table for table in self._sorted() if table is not self._version]
        with self._database.dialect.write_lock():
            with self._database.use_views(write=True) as tx:
                if self._metadata.schema:
                    tx.exec_driver_sql(f"TRUNCATE {', '.join(x.fullname for x in filled)}")
                for table in () if self._metadata.schema else filled:
                    tx.execute(delete(table))
            # What was erased meanwhile must not stay in the files of what was here before.
            self._database.rewrite_views([])

    # --- filling -----------------------------------------------------------------

    def progress(self, ledger_id: int) -> int:
        """Return the size up to which a ledger's views are filled."""
        with self._database.use_views() as tx:
            return self._read_progress(tx, ledger_id) or 0

    def all_progress(self) -> dict[int, int]:
        with self._database.use_views() as tx:
            return {row[0]: row[1] for row in tx.execute(select(self._progress))}

    def _read_progress(self, tx: Transaction, ledger_id: int) -> int | None:
        query = select(self._progress.c.size).where(self._progress.c.ledger_id == ledger_id)
        return tx.execute(query.with_for_update()).scalar_one_or_none()

    def fill(self, ledger_id: int, rows: Sequence[ViewRow]) -> int:
        """Add the rows of entries that follow each other, unless another process just did.

        Returns the size up to which the ledger's views are filled then.
        """
        try:
            return self._fill(ledger_id, rows)
        except StorageError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            # Two processes began with the same first entry; the other one won.
            return self.progress(ledger_id)

    def _fill(self, ledger_id: int, rows: Sequence[ViewRow]) -> int:
        with self._database.use_views(write=True) as tx:
            done = self._read_progress(tx, ledger_id)
            if (done or 0) != rows[0].index:
                return done or 0
            self._insert(tx, ledger_id, rows)
            size = rows[-1].index + 1
            if done is None:
                tx.execute(insert(self._progress).values(ledger_id=ledger_id, size=size))
            else:
                this = self._progress.c.ledger_id == ledger_id
                tx.execute(update(self._progress).where(this).values(size=size))
            return size

    def _insert(self, tx: Transaction, ledger_id: int, rows: Sequence[ViewRow]) -> None:
        insert_many = self._database.dialect.insert_many
        general = [
            (ledger_id, r.index, r.type, r.author, r.received_at, r.leaf_hash, r.stream,
             r.circle.audience)
            for r in rows
        ]  # fmt: skip
        insert_many(tx, self._entries, general)
        refs = {(ledger_id, ref, r.index) for r in rows for ref in r.refs}
        if refs:
            insert_many(tx, self._refs, sorted(refs))
        self._insert_readers(tx, self._readers, ledger_id, {r.index: r.circle for r in rows})
        self._insert_register(tx, ledger_id, rows)
        subjects = {
            (ledger_id, subject, r.index, r.columns_circle.audience)
            for r in rows
            for subject in r.subjects
        }
        if subjects:
            insert_many(tx, self._subjects, sorted(subjects))
        with_columns = {r.index: r.columns_circle for r in rows if r.columns or r.subjects}
        self._insert_readers(tx, self._column_readers, ledger_id, with_columns)
        by_type: dict[str, list[tuple[Any, ...]]] = {}
        for r in rows:
            if r.columns:
                row = (ledger_id, r.index, r.columns_circle.audience, *r.columns.values())
                by_type.setdefault(r.type, []).append(row)
        for name, values in by_type.items():
            insert_many(tx, self._types[name], values)

    def _insert_register(self, tx: Transaction, ledger_id: int, rows: Sequence[ViewRow]) -> None:
        insert_many = self._database.dialect.insert_many
        changes = [(ledger_id, r.index, r.change, r.circle.audience) for r in rows if r.change]
        if changes:
            insert_many(tx, self._changes, changes)
        targets = [(ledger_id, target, r.index) for r in rows for target in r.targets]
        if targets:
            insert_many(tx, self._targets, targets)

    def _insert_readers(
        self, tx: Transaction, table: Table, ledger_id: int, circles: Mapping[int, Circle]
    ) -> None:
        rows = [
            (ledger_id, name, index)
            for index, circle in circles.items()
            for name in sorted(circle.names)
        ]
        if rows:
            self._database.dialect.insert_many(tx, table, rows)

    # --- searching ---------------------------------------------------------------

    def search(self, ledger_id: int, query: EntryQuery) -> Page:
        """Return the indexes of matching entries, one page of them."""
        table = self._entries
        index = table.c.index
        statement = select(index).where(
            table.c.ledger_id == ledger_id, _is_shown(table, self._readers, ledger_id, query.reader)
        )
        for name in ("type", "author", "leaf_hash", "stream"):
            value = getattr(query, name)
            if value is not None:
                statement = statement.where(table.c[name] == value)
        if query.received_from is not None:
            statement = statement.where(table.c.received_at >= query.received_from)
        if query.received_to is not None:
            statement = statement.where(table.c.received_at < query.received_to)
        if query.ref is not None:
            refs = self._refs.c
            found = select(refs.index).where(refs.ledger_id == ledger_id, refs.target == query.ref)
            statement = statement.where(index.in_(found))
        if query.columns:
            statement = statement.where(index.in_(self._select_columns(ledger_id, query)))
        if query.after is not None:
            statement = statement.where(
                index < query.after if query.descending else index > query.after
            )
        order = index.desc() if query.descending else index.asc()
        with self._database.use_views() as tx:
            size = self._read_progress_only(tx, ledger_id)
            rows = tx.execute(statement.order_by(order).limit(query.limit + 1)).scalars().all()
        page = list(rows[: query.limit])
        return Page(page, page[-1] if len(rows) > query.limit else None, size)

    def about(
        self, ledger_id: int, subject: str, reader: Reader, after: int | None, limit: int
    ) -> Page:
        """Return the entries about a subject, of those whose payload the reader may see."""
        table = self._subjects
        found = select(table.c.index).where(
            table.c.ledger_id == ledger_id, table.c.subject == subject
        )
        return self._page(ledger_id, found, table, self._column_readers, reader, after, limit)

    def changes(
        self,
        ledger_id: int,
        kind: str | None,
        target: bytes | None,
        reader: Reader,
        after: int | None,
        limit: int,
    ) -> Page:
        """Return a page of the register of changes, of those that the reader sees."""
        table, targets = self._changes, self._targets.c
        found = select(table.c.index).where(table.c.ledger_id == ledger_id)
        if kind is not None:
            found = found.where(table.c.kind == kind)
        if target is not None:
            naming = select(targets.index).where(
                targets.ledger_id == ledger_id, targets.target == target
            )
            found = found.where(table.c.index.in_(naming))
        return self._page(ledger_id, found, table, self._readers, reader, after, limit)

    def _page(
        self,
        ledger_id: int,
        found: Select[tuple[Any]],
        table: Table,
        readers: Table,
        reader: Reader,
        after: int | None,
        limit: int,
    ) -> Page:
        found = found.where(_is_shown(table, readers, ledger_id, reader))
        if after is not None:
            found = found.where(table.c.index > after)
        with self._database.use_views() as tx:
            size = self._read_progress_only(tx, ledger_id)
            rows = tx.execute(found.order_by(table.c.index).limit(limit + 1)).scalars().all()
        page = list(rows[:limit])
        return Page(page, page[-1] if len(rows) > limit else None, size)

    def _read_progress_only(self, tx: Transaction, ledger_id: int) -> int:
        query = select(self._progress.c.size).where(self._progress.c.ledger_id == ledger_id)
        return tx.execute(query).scalar_one_or_none() or 0

    def _select_columns(self, ledger_id: int, query: EntryQuery) -> Any:
        table = self._types.get(query.type or "")
        if table is None:
            raise MalformedError("to filter by a type's column, name the type as well")
        unknown = [name for name in query.columns if name not in table.c or name in _KEY]
        if unknown:
            raise MalformedError(f"{query.type} has no column {unknown[0]!r} to filter by")
        shown = _is_shown(table, self._column_readers, ledger_id, query.reader)
        statement = select(table.c.index).where(table.c.ledger_id == ledger_id, shown)
        for name, value in query.columns.items():
            statement = statement.where(table.c[name] == value)
        return statement


def _is_shown(table: Table, readers: Table, ledger_id: int, reader: Reader) -> ColumnElement[bool]:
    """Say in SQL what :meth:`Circle.includes` says."""
    if reader.is_operator:
        return true()
    audiences = ["public", "members"] if reader.is_among_members else ["public"]
    shown: ColumnElement[bool] = table.c[_AUDIENCE].in_(audiences)
    if not reader.names:
        return shown
    r = readers.c
    named = select(r.index).where(r.ledger_id == ledger_id, r.reader.in_(sorted(reader.names)))
    return or_(shown, table.c.index.in_(named))


_AUDIENCE = "audience"
_KEY = ("ledger_id", "index", _AUDIENCE)


_COLUMN_TYPES: dict[str, type[Text] | type[BigInteger]] = {"text": Text, "integer": BigInteger}


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, primary_key=True, autoincrement=False)


def _add_index(table: Table, column: str) -> None:
    Index(f"{table.name}_by_{column}", table.c.ledger_id, table.c[column], table.c.index)
