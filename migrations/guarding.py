"""What the steps have in common: the column that says whose a row is, and guards of tables.

Databases out there went through these steps: what is made here never changes
(``tests/migrations/test_schema.py``).
"""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa
from alembic import op

LEDGER_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

Verb = Literal["UPDATE", "DELETE", "TRUNCATE"]


def ledger_column() -> sa.Column[int]:
    """Return the first column of a table whose rows are a ledger's."""
    key = sa.ForeignKey("ledgers.ledger_id")
    return sa.Column("ledger_id", LEDGER_ID, key, primary_key=True, autoincrement=False)


def is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def guard(table: str, *verbs: Verb) -> None:
    """Refuse what changes rows that are there; all of it, if nothing else is said."""
    for verb in verbs or ("UPDATE", "DELETE", "TRUNCATE"):
        trigger = f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
        if not is_sqlite():
            each = "STATEMENT" if verb == "TRUNCATE" else "ROW"
            op.execute(f"{trigger} FOR EACH {each} EXECUTE FUNCTION refuse_change()")
        elif verb != "TRUNCATE":  # Which SQLite does not have.
            complaint = f"{table} is append-only: no {verb.lower()}"
            op.execute(f"{trigger} BEGIN SELECT RAISE(ABORT, '{complaint}'); END")


def guard_updates(name: str, table: str, condition: str, complaint: str) -> None:
    """Refuse updates for which a condition on ``OLD`` and ``NEW`` holds."""
    trigger = f"CREATE TRIGGER {name} BEFORE UPDATE ON {table}"
    if is_sqlite():
        op.execute(f"{trigger} WHEN {condition} BEGIN SELECT RAISE(ABORT, '{complaint}'); END")
    else:
        op.execute(f"{trigger} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse_change()")
