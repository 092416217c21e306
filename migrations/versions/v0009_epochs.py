"""Epochs: under which origin a ledger goes on, and from which entry."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"

_LEDGER_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "epochs",
        sa.Column(
            "ledger_id",
            _LEDGER_ID,
            sa.ForeignKey("ledgers.ledger_id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("index", sa.BigInteger, primary_key=True),
        sa.Column("origin", sa.Text, nullable=False, unique=True),
    )
    if op.get_context().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER epochs_no_{verb.lower()} BEFORE {verb} ON epochs "
                f"BEGIN SELECT RAISE(ABORT, 'epochs is append-only: no {verb.lower()}'); END"
            )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER epochs_no_{verb.lower()} BEFORE {verb} ON epochs "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    op.execute(
        "CREATE TRIGGER epochs_no_truncate BEFORE TRUNCATE ON epochs "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
