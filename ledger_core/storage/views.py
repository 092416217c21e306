"""Views: what is filtered and searched, computed from the log and thrown away at will.

On SQLite they are a file of their own, on PostgreSQL a schema of UNLOGGED tables: they
never enter a backup. Their version is the digest of their definition; another version
than the stored one means: drop, make, fill again.

Each entry stands in them with its circle, who sees it, so that a search counts nothing that
its reader may not see: neither an item of a page, nor a place in a cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import MetaData, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateSchema

from ledger_core.errors import StorageError
from ledger_core.policy.calls import CallPart
from ledger_core.policy.visibility import Circle
from ledger_core.storage.call_search import CallSearch
from ledger_core.storage.calls import CallViews
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.view_tables import SCHEMA, ViewTables


class ViewRow(msgspec.Struct, frozen=True):
    """One entry as the views see it; ``columns`` are those its type declares.

    ``circle``: who sees the entry; ``columns_circle``: who sees what columns and subjects are
    made of. ``change``: its kind in the register of changes, ``targets`` the entries it names.
    ``call``: what it adds to a call of a model.
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
    call: CallPart | None = None


class Views:
    """The views of every ledger. Several processes may ``fill`` them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.tables = ViewTables(SCHEMA if database.dialect.name == "postgresql" else None)
        self.calls = CallViews(self.tables.of_calls, database.dialect)
        self.search = CallSearch(database, self.tables.of_search, self.tables.of_calls)

    def version(self) -> str:
        """Return the digest of the views' definition."""
        return self.tables.digest(self._database.views.dialect)

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
            if self.tables.metadata.schema:
                tx.exec_driver_sql("SELECT pg_advisory_xact_lock(7163)")
                tx.execute(CreateSchema(SCHEMA, if_not_exists=True))
            self.tables.version.create(tx, checkfirst=True)
            if tx.execute(select(self.tables.version.c.version)).scalar() == self.version():
                return False
            self._drop_all(tx)
            self.tables.metadata.create_all(tx)
            for statement in self.tables.made_by_hand():
                tx.exec_driver_sql(statement)
            tx.execute(insert(self.tables.version).values(version=self.version()))
            return True

    def _drop_all(self, tx: Transaction) -> None:
        """Drop whatever is there: views of another version may have other tables."""
        if self.tables.metadata.schema:
            tx.exec_driver_sql(f"DROP SCHEMA {SCHEMA} CASCADE")
            tx.execute(CreateSchema(SCHEMA))
            return
        self.tables.of_search.drop_words(tx)
        found = MetaData()
        found.reflect(tx)
        found.drop_all(tx)

    def rebuild(self) -> None:
        """Forget everything, to be filled again."""
        filled = [table for table in self.tables.sorted() if table is not self.tables.version]
        with self._database.dialect.write_lock():
            with self._database.use_views(write=True) as tx:
                if self.tables.metadata.schema:
                    tx.exec_driver_sql(f"TRUNCATE {', '.join(x.fullname for x in filled)}")
                for table in () if self.tables.metadata.schema else filled:
                    tx.execute(delete(table))
                self.tables.of_search.empty_words(tx)
            # What was erased meanwhile must not stay in the files of what was here before.
            self._database.rewrite_views([])

    # --- filling -----------------------------------------------------------------

    def progress(self, ledger_id: int) -> int:
        """Return the size up to which a ledger's views are filled."""
        with self._database.use_views() as tx:
            return self._read_progress(tx, ledger_id) or 0

    def all_progress(self) -> dict[int, int]:
        with self._database.use_views() as tx:
            return {row[0]: row[1] for row in tx.execute(select(self.tables.progress))}

    def _read_progress(self, tx: Transaction, ledger_id: int) -> int | None:
        progress = self.tables.progress.c
        query = select(progress.size).where(progress.ledger_id == ledger_id)
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
                tx.execute(insert(self.tables.progress).values(ledger_id=ledger_id, size=size))
            else:
                this = self.tables.progress.c.ledger_id == ledger_id
                tx.execute(update(self.tables.progress).where(this).values(size=size))
            return size

    def _insert(self, tx: Transaction, ledger_id: int, rows: Sequence[ViewRow]) -> None:
        insert_many = self._database.dialect.insert_many
        general = [
            (ledger_id, r.index, r.type, r.author, r.received_at, r.stream, r.circle.audience)
            for r in rows
        ]  # fmt: skip
        insert_many(tx, self.tables.entries, general)
        refs = {(ledger_id, ref, r.index) for r in rows for ref in r.refs}
        if refs:
            insert_many(tx, self.tables.refs, sorted(refs))
        self._insert_readers(tx, self.tables.readers, ledger_id, {r.index: r.circle for r in rows})
        self._insert_register(tx, ledger_id, rows)
        subjects = {
            (ledger_id, subject, r.index, r.columns_circle.audience)
            for r in rows
            for subject in r.subjects
        }
        if subjects:
            insert_many(tx, self.tables.subjects, sorted(subjects))
        with_columns = {
            r.index: r.columns_circle for r in rows if r.columns or r.subjects or r.call
        }
        self._insert_readers(tx, self.tables.column_readers, ledger_id, with_columns)
        by_type: dict[str, list[tuple[Any, ...]]] = {}
        for r in rows:
            if r.columns:
                row = (ledger_id, r.index, r.columns_circle.audience, *r.columns.values())
                by_type.setdefault(r.type, []).append(row)
        for name, values in by_type.items():
            insert_many(tx, self.tables.types[name], values)
        self.calls.fill(tx, ledger_id, rows)

    def _insert_register(self, tx: Transaction, ledger_id: int, rows: Sequence[ViewRow]) -> None:
        insert_many = self._database.dialect.insert_many
        changes = [(ledger_id, r.index, r.change, r.circle.audience) for r in rows if r.change]
        if changes:
            insert_many(tx, self.tables.changes, changes)
        targets = [(ledger_id, target, r.index) for r in rows for target in r.targets]
        if targets:
            insert_many(tx, self.tables.targets, targets)

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
