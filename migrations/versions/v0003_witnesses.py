"""Witnesses: cosignatures on our checkpoints, and what we cosigned for other logs."""

import sqlalchemy as sa
from alembic import op

from migrations.guarding import LEDGER_ID, guard, guard_updates, ledger_column

revision = "0003"
down_revision = "0002"

_BACKWARDS = "NEW.size < OLD.size OR (NEW.size = OLD.size AND NEW.root <> OLD.root)"


def upgrade() -> None:
    _create_ours()
    _create_others()
    for table in ("cosignatures", "witnessed", "equivocations"):
        guard(table)
    guard("cosigned", "DELETE", "TRUNCATE")
    guard_updates("cosigned_only_grows", "cosigned", _BACKWARDS, "what was cosigned only grows")


def _create_ours() -> None:
    op.create_table(
        "cosignatures",
        ledger_column(),
        sa.Column("size", sa.BigInteger, primary_key=True),
        sa.Column("witness", sa.LargeBinary, primary_key=True),
        sa.Column("cosigned_at", sa.BigInteger, nullable=False),
        sa.Column("line", sa.LargeBinary, nullable=False),
    )
    op.create_index("cosignatures_by_witness", "cosignatures", ["ledger_id", "witness", "size"])
    op.create_table(
        "witnessed",
        ledger_column(),
        sa.Column("policy", sa.LargeBinary, primary_key=True),
        sa.Column("size", sa.BigInteger, primary_key=True),
    )
    op.create_table(
        "witness_errors",
        sa.Column("ledger_id", LEDGER_ID, primary_key=True, autoincrement=False),
        sa.Column("witness", sa.LargeBinary, primary_key=True),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
    )


def _create_others() -> None:
    op.create_table(
        "cosigned",
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "equivocations",
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, primary_key=True),
        sa.Column("found_at", sa.BigInteger, nullable=False),
        sa.Column("first", sa.LargeBinary, nullable=False),
        sa.Column("second", sa.LargeBinary, nullable=False),
    )
