"""Erased parts: noted before their keys are destroyed, and kept for as long as the ledger is."""

import sqlalchemy as sa
from alembic import op

from migrations.guarding import guard, is_sqlite, ledger_column

revision = "0010"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "erased",
        ledger_column(),
        sa.Column("index", sa.BigInteger, primary_key=True),
        sa.Column("part", sa.Text, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("commitment", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.LargeBinary, nullable=True),
        sa.Column("by", sa.LargeBinary, nullable=False),
    )
    op.create_index("erased_by_order", "erased", ["ledger_id", "by", "index", "part"])
    guard("erased")
    _guard_payloads()


_NOTED = (
    "EXISTS (SELECT 1 FROM erased WHERE erased.ledger_id = OLD.ledger_id "
    'AND erased."index" = OLD."index" AND erased.part = OLD.part)'
)


def _guard_payloads() -> None:
    """Let nobody delete a payload that is not noted as erased first."""
    complaint = "payloads is append-only: no delete but of what was erased"
    if is_sqlite():
        op.execute(
            f"CREATE TRIGGER payloads_no_delete BEFORE DELETE ON payloads WHEN NOT {_NOTED} "
            f"BEGIN SELECT RAISE(ABORT, '{complaint}'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION refuse_unless_erased() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NOT {_NOTED} THEN RAISE EXCEPTION '{complaint}'; END IF; RETURN OLD; END $$"
    )
    op.execute(
        "CREATE TRIGGER payloads_no_delete BEFORE DELETE ON payloads "
        "FOR EACH ROW EXECUTE FUNCTION refuse_unless_erased()"
    )
