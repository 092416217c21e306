"""Effects: what holds of entries that were changed, and the changes that are proposed."""

import sqlalchemy as sa
from alembic import op

from migrations.guarding import ledger_column

revision = "0007"
down_revision = "0005"

_TO_DO = sa.text("ordered_at IS NOT NULL AND done_at IS NULL")


def upgrade() -> None:
    op.add_column("proposals", sa.Column("change", sa.LargeBinary, nullable=True))
    op.create_table(
        "effects",
        ledger_column(),
        sa.Column("index", sa.BigInteger, primary_key=True),
        sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
        sa.Column("ordered_at", sa.BigInteger, nullable=True),
        sa.Column("done_at", sa.BigInteger, nullable=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("ledger_id", "leaf_hash", name="one_effect_an_entry"),
    )
    op.create_index(
        "effects_to_do",
        "effects",
        ["ordered_at"],
        sqlite_where=_TO_DO,
        postgresql_where=_TO_DO,
    )
