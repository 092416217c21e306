"""What an operator who means harm can do to a database."""

from __future__ import annotations

from sqlalchemy import Connection, text

TABLES = (
    "entries", "payloads", "tiles", "checkpoints", "heads", "ledgers", "constitutional",
    "proposals", "voices", "counters",
)  # fmt: skip


def drop_guards(tx: Connection) -> None:
    """Take off what keeps ground truth append-only, and rows as they should be."""
    if tx.engine.dialect.name == "postgresql":
        tx.execute(text("SET session_replication_role = replica"))
        tx.execute(text("ALTER TABLE payloads DROP CONSTRAINT IF EXISTS sealed_or_in_the_clear"))
        return
    tx.execute(text("PRAGMA ignore_check_constraints = ON"))
    names = tx.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars()
    for name in names.all():
        tx.execute(text(f"DROP TRIGGER {name}"))
