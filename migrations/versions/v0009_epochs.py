"""Epochs: under which origin a ledger goes on, and from which entry."""

import sqlalchemy as sa
from alembic import op

from migrations.guarding import guard, ledger_column

revision = "0009"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "epochs",
        ledger_column(),
        sa.Column("index", sa.BigInteger, primary_key=True),
        sa.Column("origin", sa.Text, nullable=False, unique=True),
    )
    guard("epochs")
