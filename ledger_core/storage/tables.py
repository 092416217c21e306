"""Ground truth: what cannot be recomputed, and what must be true inside the append transaction.

``entries``, ``tiles`` and ``checkpoints`` are only ever added to, which the database itself
enforces (migrations/). ``payloads`` may also be deleted, by erasure. ``heads`` moves with
every batch; its row is the ledger's lock. ``keys`` is filled inside the append transaction.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# SQLite counts ids by itself only in a column declared INTEGER.
_LedgerId = BigInteger().with_variant(Integer, "sqlite")


def _ledger() -> Column[int]:
    key = ForeignKey("ledgers.ledger_id")
    return Column("ledger_id", _LedgerId, key, primary_key=True, autoincrement=False)


ledgers = Table(
    "ledgers",
    metadata,
    Column("ledger_id", _LedgerId, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("origin", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("charter", LargeBinary, nullable=False),
)

heads = Table(
    "heads",
    metadata,
    _ledger(),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("last_leaf", LargeBinary, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

entries = Table(
    "entries",
    metadata,
    _ledger(),
    Column("index", BigInteger, primary_key=True),
    Column("previous", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("record_id", LargeBinary, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    UniqueConstraint("ledger_id", "previous", name="one_entry_after_another"),
    UniqueConstraint("ledger_id", "record_id", name="one_entry_per_record_id"),
)

payloads = Table(
    "payloads",
    metadata,
    _ledger(),
    Column("index", BigInteger, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

tiles = Table(
    "tiles",
    metadata,
    _ledger(),
    Column("level", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("root", LargeBinary, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _ledger(),
    Column("size", BigInteger, primary_key=True),
    Column("root", LargeBinary, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    _ledger(),
    Column("key", Text, primary_key=True),
    Column("roles", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("revoked", BigInteger, nullable=True),
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("ledger", Text, nullable=True),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger, nullable=True),
)

APPEND_ONLY = (entries, tiles, checkpoints)
DELETE_ONLY = (payloads,)
