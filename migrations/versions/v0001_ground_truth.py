"""Ground truth of the log, and the guards that keep it append-only below the application."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_LEDGER_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_APPEND_ONLY = ("entries", "tiles", "checkpoints")


def _ledger() -> sa.Column[int]:
    key = sa.ForeignKey("ledgers.ledger_id")
    return sa.Column("ledger_id", _LEDGER_ID, key, primary_key=True, autoincrement=False)


def upgrade() -> None:
    _create_ledgers()
    _create_log()
    _create_actors()
    if op.get_context().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def _create_ledgers() -> None:
    op.create_table(
        "ledgers",
        sa.Column("ledger_id", _LEDGER_ID, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("origin", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("charter", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "heads",
        _ledger(),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("last_leaf", sa.LargeBinary, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
    )


def _create_log() -> None:
    op.create_table(
        "entries",
        _ledger(),
        sa.Column("index", sa.BigInteger, primary_key=True),
        sa.Column("previous", sa.LargeBinary, nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
        sa.Column("record_id", sa.LargeBinary, nullable=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("ledger_id", "previous", name="one_entry_after_another"),
        sa.UniqueConstraint("ledger_id", "record_id", name="one_entry_per_record_id"),
    )
    op.create_table(
        "payloads",
        _ledger(),
        sa.Column("index", sa.BigInteger, primary_key=True),
        sa.Column("part", sa.Text, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "tiles",
        _ledger(),
        sa.Column("level", sa.Integer, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "checkpoints",
        _ledger(),
        sa.Column("size", sa.BigInteger, primary_key=True),
        sa.Column("root", sa.LargeBinary, nullable=False),
    )


def _create_actors() -> None:
    op.create_table(
        "keys",
        _ledger(),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger, nullable=True),
    )
    op.create_table(
        "tokens",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("ledger", sa.Text, nullable=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=True),
    )


def _guard_sqlite() -> None:
    for table, verb in _guarded():
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: no {verb.lower()}'); END"
        )
    op.execute(
        "CREATE TRIGGER heads_only_grow BEFORE UPDATE ON heads WHEN NEW.size <= OLD.size "
        "BEGIN SELECT RAISE(ABORT, 'a head only grows'); END"
    )


def _guard_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '% is append-only: no %', TG_TABLE_NAME, lower(TG_OP); END $$"
    )
    for table, verb in _guarded():
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    for table in (*_APPEND_ONLY, "payloads", "ledgers", "heads"):
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(
        "CREATE TRIGGER heads_only_grow BEFORE UPDATE ON heads FOR EACH ROW "
        "WHEN (NEW.size <= OLD.size) EXECUTE FUNCTION refuse_change()"
    )


def _guarded() -> list[tuple[str, str]]:
    pairs = [(table, verb) for table in _APPEND_ONLY for verb in ("UPDATE", "DELETE")]
    return [
        *pairs,
        ("payloads", "UPDATE"),
        ("ledgers", "UPDATE"),
        ("ledgers", "DELETE"),
        ("heads", "DELETE"),
    ]
