"""Which ledgers there are: their rows, under the origins of all their epochs.

Every function works inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select

from ledger_core.records.types.charter import Kind
from ledger_core.storage import tables as t
from ledger_core.storage.database import Transaction
from ledger_core.storage.prepared import Row
from ledger_core.storage.store import Head

_FOUNDING = 7162
"""Number of the advisory lock that orders the founding of ledgers on PostgreSQL."""


@dataclass(frozen=True)
class LedgerRow:
    """A ledger: its name, its newest origin, and the leaf hash of entry 0 as ``charter``.

    ``earlier``: the origins it had before, the one it was founded with first.
    """

    ledger_id: int
    name: str
    origin: str
    kind: Kind
    charter: bytes
    earlier: tuple[str, ...] = ()

    @property
    def origins(self) -> tuple[str, ...]:
        """All its origins, oldest first: records meant for any of them are meant for it."""
        return (*self.earlier, self.origin)


def add_ledger(tx: Transaction, name: str, origin: str, kind: Kind, charter: bytes) -> LedgerRow:
    values = {"name": name, "origin": origin, "kind": kind, "charter": charter}
    key = tx.execute(insert(t.ledgers).values(values).returning(t.ledgers.c.ledger_id))
    return LedgerRow(key.scalar_one(), name, origin, kind, charter)


def find_ledger(tx: Transaction, name: str) -> LedgerRow | None:
    found = ledger_rows(tx, tx.execute(select(t.ledgers).where(t.ledgers.c.name == name)).all())
    return found[0] if found else None


def find_origin(tx: Transaction, origin: str) -> LedgerRow | None:
    """Return the ledger that has this origin, or had it in an earlier epoch."""
    later = select(t.epochs.c.ledger_id).where(t.epochs.c.origin == origin)
    is_its = (t.ledgers.c.origin == origin) | t.ledgers.c.ledger_id.in_(later)
    found = ledger_rows(tx, tx.execute(select(t.ledgers).where(is_its)).all())
    return found[0] if found else None


def ledger_rows(tx: Transaction, rows: Sequence[Row]) -> list[LedgerRow]:
    """Make ledgers of rows of ``ledgers``, each under the origin of its newest epoch."""
    query = select(t.epochs.c.ledger_id, t.epochs.c.origin)
    if len(rows) == 1:
        query = query.where(t.epochs.c.ledger_id == rows[0][0])
    later: dict[int, list[str]] = {}
    if rows:
        for ledger_id, origin in tx.execute(query.order_by(t.epochs.c.index)):
            later.setdefault(ledger_id, []).append(origin)
    return [
        LedgerRow(key, name, origins[-1], kind, charter, tuple(origins[:-1]))
        for key, name, founded, kind, charter in rows
        for origins in [[founded, *later.get(key, ())]]
    ]


def read_ledger_name(tx: Transaction, ledger_id: int) -> str:
    query = select(t.ledgers.c.name).where(t.ledgers.c.ledger_id == ledger_id)
    return str(tx.execute(query).scalar_one())


def lock_ledgers(tx: Transaction) -> None:
    """Keep everyone else from founding a ledger until the commit."""
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_FOUNDING})")


def is_taken(tx: Transaction, name: str, origin: str) -> bool:
    """Say whether a ledger has this name, or has or had this origin."""
    taken = select(t.ledgers.c.ledger_id).where(t.ledgers.c.name == name)
    return tx.execute(taken).first() is not None or find_origin(tx, origin) is not None


def list_ledgers(tx: Transaction, after: str, limit: int) -> list[LedgerRow]:
    query = select(t.ledgers).where(t.ledgers.c.name > after)
    return ledger_rows(tx, tx.execute(query.order_by(t.ledgers.c.name).limit(limit)).all())


def read_all_heads(tx: Transaction) -> list[tuple[LedgerRow, Head]]:
    """Return every ledger with its head."""
    h = t.heads.c
    query = select(t.ledgers, h.size, h.root, h.last_leaf, h.received_at)
    rows = tx.execute(query.join(t.heads, t.ledgers.c.ledger_id == h.ledger_id)).all()
    ledgers = ledger_rows(tx, [row[:5] for row in rows])
    return [(ledger, Head(*row[5:])) for ledger, row in zip(ledgers, rows, strict=True)]
