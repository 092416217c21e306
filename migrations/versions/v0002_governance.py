"""Governance: which entries make the constitution, and what is proposed and said of it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_LEDGER_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_APPEND_ONLY = ("constitutional", "voices")


def _ledger() -> sa.Column[int]:
    key = sa.ForeignKey("ledgers.ledger_id")
    return sa.Column("ledger_id", _LEDGER_ID, key, primary_key=True, autoincrement=False)


def upgrade() -> None:
    op.create_table(
        "constitutional", _ledger(), sa.Column("index", sa.BigInteger, primary_key=True)
    )
    op.create_table(
        "proposals",
        _ledger(),
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
        _ledger(),
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
    if op.get_context().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def _guard_sqlite() -> None:
    for table, verb in _guarded():
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: no {verb.lower()}'); END"
        )


def _guard_postgresql() -> None:
    for table, verb in _guarded():
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    for table in (*_APPEND_ONLY, "proposals"):
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def _guarded() -> list[tuple[str, str]]:
    pairs = [(table, verb) for table in _APPEND_ONLY for verb in ("UPDATE", "DELETE")]
    return [*pairs, ("proposals", "DELETE")]
