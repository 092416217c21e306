"""Tries to break the rules that the database itself holds, and takes back what it tried.

Append-only is enforced below the application (migrations/). Whoever restores or copies a
database may lose that; ``ledgergrid doctor`` asks here.
"""

from __future__ import annotations

from sqlalchemy import Delete, Update, delete, select, update
from sqlalchemy.exc import DBAPIError

from ledger_core.errors import IntegrityError
from ledger_core.storage import tables as t
from ledger_core.storage.database import Database


def check_guards(database: Database) -> None:
    """Raise :class:`IntegrityError` if ground truth can be changed or deleted.

    Needs one entry to try it on; a database without any passes.
    """
    for table in (*t.APPEND_ONLY, t.ledgers):
        column = next(iter(table.columns))
        for attempt in (update(table).values({column: column}), delete(table)):
            _check_refused(database, attempt)


def _check_refused(database: Database, attempt: Update | Delete) -> None:
    table = attempt.table
    with database.engine.connect().execution_options(write=True) as tx:
        if tx.execute(select(table).limit(1)).first() is None:
            return
        try:
            tx.execute(attempt)
        except DBAPIError:
            return
        finally:
            tx.rollback()
    verb = "change" if isinstance(attempt, Update) else "delete"
    raise IntegrityError(f"the database lets anyone {verb} rows of {table}")
