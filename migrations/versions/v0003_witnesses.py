"""Witnesses: cosignatures on our checkpoints, and what we cosigned for other logs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_LEDGER_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_APPEND_ONLY = ("cosignatures", "witnessed", "equivocations")
_BACKWARDS = "NEW.size < OLD.size OR (NEW.size = OLD.size AND NEW.root <> OLD.root)"


def _ledger() -> sa.Column[int]:
    key = sa.ForeignKey("ledgers.ledger_id")
    return sa.Column("ledger_id", _LEDGER_ID, key, primary_key=True, autoincrement=False)


def upgrade() -> None:
    _create_ours()
    _create_others()
    if op.get_context().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def _create_ours() -> None:
    op.create_table(
        "cosignatures",
        _ledger(),
        sa.Column("size", sa.BigInteger, primary_key=True),
        sa.Column("witness", sa.LargeBinary, primary_key=True),
        sa.Column("cosigned_at", sa.BigInteger, nullable=False),
        sa.Column("line", sa.LargeBinary, nullable=False),
    )
    op.create_index("cosignatures_by_witness", "cosignatures", ["ledger_id", "witness", "size"])
    op.create_table(
        "witnessed",
        _ledger(),
        sa.Column("policy", sa.LargeBinary, primary_key=True),
        sa.Column("size", sa.BigInteger, primary_key=True),
    )
    op.create_table(
        "witness_errors",
        sa.Column("ledger_id", _LEDGER_ID, primary_key=True, autoincrement=False),
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


def _guard_sqlite() -> None:
    for table, verb in _guarded():
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: no {verb.lower()}'); END"
        )
    op.execute(
        f"CREATE TRIGGER cosigned_only_grows BEFORE UPDATE ON cosigned WHEN {_BACKWARDS} "
        "BEGIN SELECT RAISE(ABORT, 'what was cosigned only grows'); END"
    )


def _guard_postgresql() -> None:
    for table, verb in _guarded():
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    for table in (*_APPEND_ONLY, "cosigned"):
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(
        "CREATE TRIGGER cosigned_only_grows BEFORE UPDATE ON cosigned FOR EACH ROW "
        f"WHEN ({_BACKWARDS}) EXECUTE FUNCTION refuse_change()"
    )


def _guarded() -> list[tuple[str, str]]:
    pairs = [(table, verb) for table in _APPEND_ONLY for verb in ("UPDATE", "DELETE")]
    return [*pairs, ("cosigned", "DELETE")]
