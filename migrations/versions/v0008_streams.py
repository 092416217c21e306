"""Streams: to which entry an author first gave each number."""

import base64
import json

import sqlalchemy as sa
from alembic import op

from migrations.guarding import guard, ledger_column

revision = "0008"
down_revision = "0006"

_AT_ONCE = 1_000
_NOT_COUNTED = frozenset(
    {
        "charter/1", "key/1", "key.rotation/1", "log.key/1", "member/1", "policy/1", "audience/1",
        "closing/1", "epoch/1", "mutability/1", "retention/1",
    }
)  # fmt: skip
"""The constitutional types there were."""


def upgrade() -> None:
    op.create_table(
        "counters",
        ledger_column(),
        sa.Column("counter", sa.LargeBinary, primary_key=True),
        sa.Column("index", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    _fill()
    guard("counters")


def _fill() -> None:
    """Note the first entry with each counter, in order; of later ones there is no evidence."""
    connection = op.get_bind()
    read = sa.text(
        'SELECT "index", leaf FROM entries WHERE ledger_id = :ledger AND "index" > :after '
        'ORDER BY "index" LIMIT :most'
    )
    note = sa.text("INSERT INTO counters VALUES (:ledger, :counter, :index) ON CONFLICT DO NOTHING")
    for ledger in connection.scalars(sa.text("SELECT ledger_id FROM ledgers")).all():
        after = -1
        while rows := connection.execute(
            read, {"ledger": ledger, "after": after, "most": _AT_ONCE}
        ).all():
            found = [
                {"ledger": ledger, "index": index, "counter": counter}
                for index, leaf in rows
                if (counter := _counter_of(bytes(leaf).partition(b"\n\n")[2])) is not None
            ]
            if found:
                connection.execute(note, found)
            after = rows[-1][0]


def _counter_of(raw: bytes) -> bytes | None:
    """Return author's key, stream and number, as ledger_core/policy/streams.py writes them."""
    if b'"stream":' not in raw:
        return None
    record = json.loads(raw)
    if record["type"] in _NOT_COUNTED:
        return None
    key = base64.urlsafe_b64decode(record["author"].removeprefix("ed25519:") + "=")
    return bytes(key + record["stream"].encode("ascii") + record["n"].to_bytes(8, "big"))
