"""Governance: which entries make the constitution, and what is proposed and said of it."""

import sqlalchemy as sa
from alembic import op

from migrations.guarding import guard, ledger_column

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "constitutional", ledger_column(), sa.Column("index", sa.BigInteger, primary_key=True)
    )
    op.create_table(
        "proposals",
        ledger_column(),
        sa.Column("index", sa.BigInteger, primary_key=True),
        sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("member", sa.Text, nullable=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("policies", sa.LargeBinary, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("parts", sa.LargeBinary, nullable=False),
        sa.Column("bundle", sa.LargeBinary, nullable=True),
        sa.Column("outcome", sa.BigInteger, nullable=True),
        sa.Column("verdict", sa.Text, nullable=True),
        sa.UniqueConstraint("ledger_id", "leaf_hash", name="one_proposal_an_entry"),
    )
    op.create_index("proposals_open", "proposals", ["outcome", "ends_at"])
    op.create_index("proposals_by_verdict", "proposals", ["ledger_id", "verdict", "index"])
    op.create_table(
        "voices",
        ledger_column(),
        sa.Column("proposal", sa.BigInteger, primary_key=True),
        sa.Column("index", sa.BigInteger, primary_key=True),
        sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("member", sa.Text, nullable=True),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
    )
    # So far every change to the constitution was a key's, and took effect at once.
    for column in ("since", "revoked"):
        op.execute(
            f'INSERT INTO constitutional (ledger_id, "index") SELECT DISTINCT k.ledger_id, '
            f"k.{column} FROM keys k WHERE k.{column} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "
            f'constitutional c WHERE c.ledger_id = k.ledger_id AND c."index" = k.{column})'
        )
    op.drop_table("keys")
    for table in ("constitutional", "voices"):
        guard(table)
    guard("proposals", "DELETE", "TRUNCATE")
