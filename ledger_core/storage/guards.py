"""Tries to break the rules that the database itself holds, and takes back what it tried.

Append-only is enforced below the application (migrations/). Whoever restores or copies a
database may lose that; ``ledgergrid doctor`` asks here.
"""

from __future__ import annotations

from sqlalchemy import Delete, Table, Update, and_, delete, select, update
from sqlalchemy.exc import DBAPIError

from ledger_core.errors import IntegrityError
from ledger_core.storage import tables as t
from ledger_core.storage.database import Database


def check_guards(database: Database) -> None:
    """Raise :class:`IntegrityError` if ground truth can be changed or deleted.

    Needs one entry to try it on; a database without any passes.
    """
    for table in (*t.APPEND_ONLY, t.ledgers):
        _check_refused(database, table, "change")
        _check_refused(database, table, "delete")


def _check_refused(database: Database, table: Table, verb: str) -> None:
    key = list(table.primary_key.columns)
    with database.engine.connect().execution_options(write=True) as tx:
        row = tx.execute(select(*key).limit(1)).first()
        if row is None:
            return
        this = and_(*(column == value for column, value in zip(key, row, strict=True)))
        attempt: Update | Delete = delete(table).where(this)
        if verb == "change":
            attempt = update(table).where(this).values({key[0]: key[0]})
        try:
            tx.execute(attempt)
        except DBAPIError:
            return
        finally:
            tx.rollback()
    raise IntegrityError(f"the database lets anyone {verb} rows of {table.name}")
