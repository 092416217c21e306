"""Which data keys the stored payload parts name: for those who look after keys, not payloads."""

from __future__ import annotations

from sqlalchemy import func, select

from ledger_core.storage import tables as t
from ledger_core.storage.database import Transaction

_p = t.payloads.c


def read_key_ids(
    tx: Transaction, ledger_id: int, start: int, end: int
) -> dict[tuple[int, str], bytes]:
    """Return the key ids of sealed parts of entries ``[start, end)``, by index and part."""
    rows = select(_p.index, _p.part, _p.key_id).where(_p.ledger_id == ledger_id)
    rows = rows.where(_p.index >= start, _p.index < end, _p.key_id.is_not(None))
    found = tx.execute(rows.order_by(_p.index, _p.part))
    return {(row[0], row[1]): row[2] for row in found}


def count_sealed(tx: Transaction) -> int:
    """Return how many sealed parts there are, of all ledgers."""
    query = select(func.count()).select_from(t.payloads).where(_p.key_id.is_not(None))
    return int(tx.execute(query).scalar_one())
