"""Closed ledgers: their final size, and where they are anchored."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_LEDGER_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_MOVED = "OLD.anchor IS NOT NULL OR NEW.size <> OLD.size OR NEW.ledger_id <> OLD.ledger_id"
_TO_ANCHOR = sa.text("try_at IS NOT NULL")


def upgrade() -> None:
    key = sa.ForeignKey("ledgers.ledger_id")
    op.create_table(
        "closings",
        sa.Column("ledger_id", _LEDGER_ID, key, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("parent", _LEDGER_ID, nullable=True),
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
    if op.get_context().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def _guard_sqlite() -> None:
    op.execute(
        "CREATE TRIGGER closings_no_delete BEFORE DELETE ON closings "
        "BEGIN SELECT RAISE(ABORT, 'closings is append-only: no delete'); END"
    )
    op.execute(
        f"CREATE TRIGGER closings_stay BEFORE UPDATE ON closings WHEN {_MOVED} "
        "BEGIN SELECT RAISE(ABORT, 'where a ledger ended and is anchored stays'); END"
    )


def _guard_postgresql() -> None:
    op.execute(
        "CREATE TRIGGER closings_no_delete BEFORE DELETE ON closings "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER closings_no_truncate BEFORE TRUNCATE ON closings "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER closings_stay BEFORE UPDATE ON closings FOR EACH ROW "
        f"WHEN ({_MOVED}) EXECUTE FUNCTION refuse_change()"
    )
