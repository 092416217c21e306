"""Ground truth of the log, and the guards that keep it append-only below the application."""

import sqlalchemy as sa
from alembic import op

from migrations.guarding import LEDGER_ID, guard, guard_updates, is_sqlite, ledger_column

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_ledgers()
    _create_log()
    _create_actors()
    _guard()


def _create_ledgers() -> None:
    op.create_table(
        "ledgers",
        sa.Column("ledger_id", LEDGER_ID, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("origin", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("charter", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "heads",
        ledger_column(),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("last_leaf", sa.LargeBinary, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
    )


def _create_log() -> None:
    op.create_table(
        "entries",
        ledger_column(),
        sa.Column("index", sa.BigInteger, primary_key=True),
        sa.Column("previous", sa.LargeBinary, nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
        sa.Column("record_id", sa.LargeBinary, nullable=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("ledger_id", "previous", name="one_entry_after_another"),
        sa.UniqueConstraint("ledger_id", "record_id", name="one_entry_per_record_id"),
    )
    op.create_table(
        "payloads",
        ledger_column(),
        sa.Column("index", sa.BigInteger, primary_key=True),
        sa.Column("part", sa.Text, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "tiles",
        ledger_column(),
        sa.Column("level", sa.Integer, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "checkpoints",
        ledger_column(),
        sa.Column("size", sa.BigInteger, primary_key=True),
        sa.Column("root", sa.LargeBinary, nullable=False),
    )


def _create_actors() -> None:
    op.create_table(
        "keys",
        ledger_column(),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger, nullable=True),
    )
    op.create_table(
        "tokens",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("ledger", sa.Text, nullable=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=True),
    )


def _guard() -> None:
    if not is_sqlite():
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION '% is append-only: no %', TG_TABLE_NAME, lower(TG_OP); END $$"
        )
    for table in ("entries", "tiles", "checkpoints", "ledgers"):
        guard(table)
    guard("payloads", "UPDATE", "TRUNCATE")
    guard("heads", "DELETE", "TRUNCATE")
    guard_updates("heads_only_grow", "heads", "NEW.size <= OLD.size", "a head only grows")
