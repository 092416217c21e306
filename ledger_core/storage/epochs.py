"""Epochs: under which origin a ledger goes on, and from which entry on. The log says it too."""

from __future__ import annotations

from sqlalchemy import insert, select

from ledger_core.storage import tables as t
from ledger_core.storage.database import Transaction


def add(tx: Transaction, ledger_id: int, index: int, origin: str) -> None:
    """Note under which origin a ledger goes on; its row, like every other, is never changed."""
    tx.execute(insert(t.epochs).values(ledger_id=ledger_id, index=index, origin=origin))


def read_indexes(tx: Transaction, ledger_id: int) -> list[int]:
    """Return the indexes of the entries that opened an epoch, in order."""
    e = t.epochs.c
    query = select(e.index).where(e.ledger_id == ledger_id).order_by(e.index)
    return list(tx.execute(query).scalars())
