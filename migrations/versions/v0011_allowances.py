"""Allowances: what is used of budgets and rates, decided inside the append transaction."""

import sqlalchemy as sa
from alembic import op

from migrations.guarding import ledger_column

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "allowances",
        ledger_column(),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=True),
        sa.Column("counts", sa.LargeBinary, nullable=True),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "allowances_by_end",
        "allowances",
        ["ledger_id", "until_ms"],
        sqlite_where=sa.text("until_ms IS NOT NULL"),
        postgresql_where=sa.text("until_ms IS NOT NULL"),
    )
