"""Tokens may speak for a party: a member or a key."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("tokens", sa.Column("party", sa.Text, nullable=True))
