"""Payload parts are sealed: a row has a salt or the id of its data key, never both.

What was stored before stays as it is, in the clear.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0009"

_RULE = "(salt IS NULL) <> (key_id IS NULL)"


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        _rebuild()
    else:
        _alter()


def _rebuild() -> None:
    """Make the table anew: SQLite cannot let a column be NULL that could not."""
    op.create_table(
        "payloads_sealed",
        sa.Column(
            "ledger_id",
            sa.Integer,
            sa.ForeignKey("ledgers.ledger_id"),
            primary_key=True,
            autoincrement=False,
        ),
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
    op.execute(
        "CREATE TRIGGER payloads_no_update BEFORE UPDATE ON payloads "
        "BEGIN SELECT RAISE(ABORT, 'payloads is append-only: no update'); END"
    )


def _alter() -> None:
    op.alter_column("payloads", "salt", nullable=True)
    op.add_column("payloads", sa.Column("key_id", sa.LargeBinary, nullable=True))
    op.create_check_constraint("sealed_or_in_the_clear", "payloads", _RULE)
    # What is sealed does not get smaller: PostgreSQL need not try.
    op.execute("ALTER TABLE payloads ALTER COLUMN data SET STORAGE EXTERNAL")
