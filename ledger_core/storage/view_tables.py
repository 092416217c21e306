"""The tables of the views, and the digest of their definition, which is their version."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Index, LargeBinary, MetaData, Table, Text
from sqlalchemy.schema import CreateIndex, CreateTable

from ledger_core.policy.calls import TYPES
from ledger_core.records import registry
from ledger_core.records.model import RecordType
from ledger_core.storage.call_search import SearchTables
from ledger_core.storage.call_tables import CallTables, add_index

SCHEMA = "ledgergrid_views"

AUDIENCE = "audience"
KEY = ("ledger_id", "index", AUDIENCE)
"""Columns of a type's table that are none of the type's own."""


class ViewTables:
    """What entries are found by: in general, by type, by whom they are about, by what they change.

    ``schema``: where they lie on PostgreSQL, as UNLOGGED tables; None in a file of their own.
    """

    def __init__(self, schema: str | None) -> None:
        self.metadata = MetaData(schema=schema)
        self.version = self._table("version", Column("version", Text))
        size = Column("size", BigInteger, nullable=False)
        self.progress = self._table("progress", _number("ledger_id"), size)
        self.entries = self._table(
            "entry_view",
            _number("ledger_id"),
            _number("index"),
            Column("type", Text, nullable=False),
            Column("author", Text, nullable=False),
            Column("received_at", BigInteger, nullable=False),
            Column("stream", Text),
            Column("audience", Text, nullable=False),
        )
        for name in ("type", "author", "stream", "received_at"):
            _add_index(self.entries, name)
        target = Column("target", LargeBinary, primary_key=True)
        self.refs = self._table("ref_view", _number("ledger_id"), target, _number("index"))
        self.readers = self._reader_table("reader_view")
        self.column_readers = self._reader_table("column_reader_view")
        self.subjects = self._subject_table()
        self.changes = self._change_table()
        target = Column("target", LargeBinary, primary_key=True)
        self.targets = self._table("target_view", _number("ledger_id"), target, _number("index"))
        self.types = {kind.name: self._type_table(kind) for kind in registry.ALL}
        self.of_calls = CallTables(self._table)
        self.of_search = SearchTables(self._table, is_postgresql=schema is not None)

    def _type_table(self, kind: RecordType) -> Table:
        columns = [Column(name, _COLUMN_TYPES[of]) for name, of in kind.columns.items()]
        name = kind.name.replace(".", "_").replace("/", "_")
        audience = Column(AUDIENCE, Text, nullable=False)
        table = self._table(
            f"{name}_view", _number("ledger_id"), _number("index"), audience, *columns
        )
        for column_name in kind.columns:
            _add_index(table, column_name)
        return table

    def _subject_table(self) -> Table:
        subject = Column("subject", Text, primary_key=True)
        audience = Column(AUDIENCE, Text, nullable=False)
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
            Column(AUDIENCE, Text, nullable=False),
        )
        _add_index(table, "kind")
        return table

    def _reader_table(self, name: str) -> Table:
        """Define who sees entries of which the audience alone does not say it."""
        reader = Column("reader", Text, primary_key=True)
        return self._table(name, _number("ledger_id"), reader, _number("index"))

    def _table(self, name: str, *columns: Column[Any]) -> Table:
        prefixes = ["UNLOGGED"] if self.metadata.schema else []
        # Rows lie in their key's index itself. Not where texts do, which it would have no room for.
        is_key_alone = name != "search_view" and any(column.primary_key for column in columns)
        return Table(
            name,
            self.metadata,
            *columns,
            prefixes=prefixes,
            sqlite_with_rowid=not is_key_alone,
        )

    def digest(self, dialect: Dialect) -> str:
        """Return the digest of the definition, as this dialect spells it."""
        made = [str(CreateTable(table).compile(dialect=dialect)) for table in self.sorted()]
        indexes = (index for table in self.sorted() for index in table.indexes)
        made += sorted(str(CreateIndex(index).compile(dialect=dialect)) for index in indexes)
        made += self.made_by_hand()
        return sha256("\n".join(made).encode()).hexdigest()

    def made_by_hand(self) -> list[str]:
        """Return the statements that follow the making of the tables."""
        if self.metadata.schema is None:
            return [*self.of_search.definition(), *self.of_calls.statistics()]
        return [*self.of_search.definition(), *self._keep_out_of_statistics()]

    def _keep_out_of_statistics(self) -> list[str]:
        """Return what keeps values out of PostgreSQL's statistics: those are logged and backed up.

        A sample of a column's values would outlive its erasure in every base backup.
        """
        return [
            f'ALTER TABLE {table.fullname} ALTER COLUMN "{column.name}" SET STATISTICS 0'
            for table in (*self.types.values(), self.subjects, *self._made_of_calls)
            for column in table.columns
            if column.name not in KEY
        ]

    def made_of_payloads(self, type_name: str) -> tuple[Table, ...]:
        """Return the tables in which something of a type's payload may stand."""
        calls = self._made_of_calls if type_name in TYPES else ()
        return *self.made_at_entries(type_name), *calls

    @property
    def _made_of_calls(self) -> tuple[Table, ...]:
        return *self.of_calls.all, self.of_search.texts

    def made_at_entries(self, type_name: str) -> tuple[Table, ...]:
        """Return those of them that have it in rows of its own entry's index."""
        return self.types[type_name], self.subjects

    def sorted(self) -> list[Table]:
        return sorted(self.metadata.tables.values(), key=lambda table: table.name)


_COLUMN_TYPES: dict[str, type[Text] | type[BigInteger]] = {"text": Text, "integer": BigInteger}


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, primary_key=True, autoincrement=False)


def _add_index(table: Table, name: str) -> None:
    column = table.c[name]
    add_index(f"{table.name}_by_{name}", table.c.ledger_id, column, table.c.index, found_by=column)
