"""Payload parts are sealed: a row has a salt or the id of its data key, never both.

What was stored before stays as it is, in the clear.
"""

import sqlalchemy as sa
from alembic import op

from migrations.guarding import guard, is_sqlite, ledger_column

revision = "0006"
down_revision = "0009"

_RULE = "(salt IS NULL) <> (key_id IS NULL)"


def upgrade() -> None:
    if is_sqlite():
        _rebuild()
    else:
        _alter()


def _rebuild() -> None:
    """Make the table anew: SQLite cannot let a column be NULL that could not."""
    op.create_table(
        "payloads_sealed",
        ledger_column(),
        sa.Column("index", sa.BigInteger, primary_key=True),
        sa.Column("part", sa.Text, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.LargeBinary, nullable=True),
        sa.CheckConstraint(_RULE, name="sealed_or_in_the_clear"),
    )
    op.execute(
        "INSERT INTO payloads_sealed "
        'SELECT ledger_id, "index", part, salt, data, NULL FROM payloads'
    )
    op.drop_table("payloads")  # And the trigger that guarded it.
    op.rename_table("payloads_sealed", "payloads")
    guard("payloads", "UPDATE")


def _alter() -> None:
    op.alter_column("payloads", "salt", nullable=True)
    op.add_column("payloads", sa.Column("key_id", sa.LargeBinary, nullable=True))
    op.create_check_constraint("sealed_or_in_the_clear", "payloads", _RULE)
    # What is sealed does not get smaller: PostgreSQL need not try.
    op.execute("ALTER TABLE payloads ALTER COLUMN data SET STORAGE EXTERNAL")
