"""Ground truth: what cannot be recomputed, and what must be true inside the append transaction.

``entries``, ``tiles`` and ``checkpoints`` are only ever added to, which the database itself
enforces (migrations/). ``payloads`` may also be deleted, by erasure. ``heads`` moves with
every batch; its row is the ledger's lock. ``constitutional``, ``proposals`` and ``voices`` are
filled inside the append transaction: which entries say who may do what, what is proposed, and
what was said of it. So is ``counters``: to which entry an author first gave a number of a stream.

``allowances`` says what is used of budgets and rates; its rows change with every call, and go
when their day is over.

``effects`` has a row for each entry of which something holds beside what it says: what amended,
redacted, held or erased it; and for each amendment and each order to erase.

``epochs`` has a row for each epoch after a ledger's first: its origin, and its first entry.

``closings`` has a row for each closed ledger: its final size, where it is anchored, or when that
is to be tried (again).

``cosignatures`` are witnesses' verified lines, ``witnessed`` the sizes at which they reached a
policy's quorum; ``cosigned`` is what this service cosigned for other logs, which only grows, and
``equivocations`` the two roots some log signed for one size: all but ``cosigned`` only added to.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
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
    # Sealed: `data` holds the salt as well, `key_id` names the data key in the key store. In the
    # clear (governance): a salt and no key.
    Column("salt", LargeBinary, nullable=True),
    Column("data", LargeBinary, nullable=False),
    Column("key_id", LargeBinary, nullable=True),
    CheckConstraint("(salt IS NULL) <> (key_id IS NULL)", name="sealed_or_in_the_clear"),
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

constitutional = Table(
    "constitutional",
    metadata,
    _ledger(),
    Column("index", BigInteger, primary_key=True),
)

proposals = Table(
    "proposals",
    metadata,
    _ledger(),
    Column("index", BigInteger, primary_key=True),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("author", Text, nullable=False),
    Column("member", Text, nullable=True),
    Column("type", Text, nullable=False),
    Column("policies", LargeBinary, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("parts", LargeBinary, nullable=False),
    Column("bundle", LargeBinary, nullable=True),
    Column("outcome", BigInteger, nullable=True),
    Column("verdict", Text, nullable=True),
    Column("change", LargeBinary, nullable=True),
    UniqueConstraint("ledger_id", "leaf_hash", name="one_proposal_an_entry"),
    Index("proposals_open", "outcome", "ends_at"),
    Index("proposals_by_verdict", "ledger_id", "verdict", "index"),
)

voices = Table(
    "voices",
    metadata,
    _ledger(),
    Column("proposal", BigInteger, primary_key=True),
    Column("index", BigInteger, primary_key=True),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("key", Text, nullable=False),
    Column("member", Text, nullable=True),
    Column("roles", Text, nullable=False),
    Column("decision", Text, nullable=False),
)

effects = Table(
    "effects",
    metadata,
    _ledger(),
    Column("index", BigInteger, primary_key=True),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("ordered_at", BigInteger, nullable=True),
    Column("done_at", BigInteger, nullable=True),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("ledger_id", "leaf_hash", name="one_effect_an_entry"),
    Index(
        "effects_to_do",
        "ordered_at",
        sqlite_where=text("ordered_at IS NOT NULL AND done_at IS NULL"),
        postgresql_where=text("ordered_at IS NOT NULL AND done_at IS NULL"),
    ),
)

counters = Table(
    "counters",
    metadata,
    _ledger(),
    Column("counter", LargeBinary, primary_key=True),
    Column("index", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

allowances = Table(
    "allowances",
    metadata,
    _ledger(),
    Column("key", LargeBinary, primary_key=True),
    # Of a budget: micro-USD used. Of a rate: its newest second, and `counts`.
    Column("amount", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=True),
    Column("counts", LargeBinary, nullable=True),
    Index(
        "allowances_by_end",
        "ledger_id",
        "until_ms",
        sqlite_where=text("until_ms IS NOT NULL"),
        postgresql_where=text("until_ms IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

erased = Table(
    "erased",
    metadata,
    _ledger(),
    Column("index", BigInteger, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("commitment", LargeBinary, nullable=False),
    Column("key_id", LargeBinary, nullable=True),
    Column("by", LargeBinary, nullable=False),
    Index("erased_by_order", "ledger_id", "by", "index", "part"),
)

closings = Table(
    "closings",
    metadata,
    _ledger(),
    Column("size", BigInteger, nullable=False),
    Column("parent", _LedgerId, nullable=True),
    Column("anchor", BigInteger, nullable=True),
    Column("try_at", BigInteger, nullable=True),
    Column("error", Text, nullable=True),
    Index(
        "closings_to_anchor",
        "try_at",
        sqlite_where=text("try_at IS NOT NULL"),
        postgresql_where=text("try_at IS NOT NULL"),
    ),
)

epochs = Table(
    "epochs",
    metadata,
    _ledger(),
    Column("index", BigInteger, primary_key=True),
    Column("origin", Text, nullable=False, unique=True),
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
    Column("party", Text, nullable=True),
)

# --- witnesses: others of ours, and ourselves of others ------------------------------

cosignatures = Table(
    "cosignatures",
    metadata,
    _ledger(),
    Column("size", BigInteger, primary_key=True),
    Column("witness", LargeBinary, primary_key=True),
    Column("cosigned_at", BigInteger, nullable=False),
    Column("line", LargeBinary, nullable=False),
    Index("cosignatures_by_witness", "ledger_id", "witness", "size"),
)

witnessed = Table(
    "witnessed",
    metadata,
    _ledger(),
    Column("policy", LargeBinary, primary_key=True),
    Column("size", BigInteger, primary_key=True),
)

witness_errors = Table(
    "witness_errors",
    metadata,
    Column("ledger_id", _LedgerId, primary_key=True, autoincrement=False),
    Column("witness", LargeBinary, primary_key=True),
    Column("error", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
)

cosigned = Table(
    "cosigned",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", LargeBinary, nullable=False),
)

equivocations = Table(
    "equivocations",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("found_at", BigInteger, nullable=False),
    Column("first", LargeBinary, nullable=False),
    Column("second", LargeBinary, nullable=False),
)

APPEND_ONLY = (
    entries,
    tiles,
    checkpoints,
    constitutional,
    voices,
    epochs,
    counters,
    erased,
    cosignatures,
    witnessed,
    equivocations,
)
DELETE_ONLY = (payloads,)
