"""Closed ledgers: their final size, and where they are anchored."""

import sqlalchemy as sa
from alembic import op

from migrations.guarding import LEDGER_ID, guard, guard_updates, ledger_column

revision = "0004"
down_revision = "0003"

_MOVED = "OLD.anchor IS NOT NULL OR NEW.size <> OLD.size OR NEW.ledger_id <> OLD.ledger_id"
_TO_ANCHOR = sa.text("try_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "closings",
        ledger_column(),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("parent", LEDGER_ID, nullable=True),
        sa.Column("anchor", sa.BigInteger, nullable=True),
        sa.Column("try_at", sa.BigInteger, nullable=True),
        sa.Column("error", sa.Text, nullable=True),
    )
    op.create_index(
        "closings_to_anchor",
        "closings",
        ["try_at"],
        sqlite_where=_TO_ANCHOR,
        postgresql_where=_TO_ANCHOR,
    )
    guard("closings", "DELETE", "TRUNCATE")
    guard_updates("closings_stay", "closings", _MOVED, "where a ledger ended and is anchored stays")
