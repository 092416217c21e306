"""Closed ledgers: where they ended, and where they are anchored or when to try it again.

A row is written in the transaction that closes a ledger. It is a memory of what the log says:
the anchor itself is an entry of the parent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import insert, select, update

from ledger_core.storage import catalogue
from ledger_core.storage import tables as t
from ledger_core.storage.catalogue import LedgerRow
from ledger_core.storage.database import Transaction

_c = t.closings.c


@dataclass(frozen=True)
class Closing:
    """A ledger that ended at ``size``. ``anchor``: index of its anchor in the ledger ``parent``.

    ``try_at``, in ms: when to try to anchor it; None if it is anchored or cannot be here, and
    ``error`` says why it is not.
    """

    ledger_id: int
    size: int
    parent: int | None
    anchor: int | None
    try_at: int | None
    error: str | None


def add(tx: Transaction, ledger_id: int, size: int) -> None:
    """Note that a ledger ends at ``size``, to be anchored at once."""
    tx.execute(insert(t.closings).values(ledger_id=ledger_id, size=size, try_at=0))


def find(tx: Transaction, ledger_id: int) -> Closing | None:
    row = tx.execute(select(t.closings).where(_c.ledger_id == ledger_id)).one_or_none()
    return Closing(*row) if row else None


def read_due(tx: Transaction, now_ms: int, limit: int) -> list[tuple[LedgerRow, int]]:
    """Return ledgers that are to be anchored now, with their final size, longest due first."""
    query = (
        select(t.ledgers, _c.size)
        .join(t.closings, t.ledgers.c.ledger_id == _c.ledger_id)
        .where(_c.try_at.is_not(None), _c.try_at <= now_ms)
        .order_by(_c.try_at)
        .limit(limit)
    )
    rows = tx.execute(query).all()
    ledgers = catalogue.ledger_rows(tx, [row[:-1] for row in rows])
    return [(ledger, row[-1]) for ledger, row in zip(ledgers, rows, strict=True)]


def note_anchored(tx: Transaction, ledger_id: int, parent: int, anchor: int) -> None:
    """Note where a ledger is anchored; whoever comes second changes nothing."""
    values = {"parent": parent, "anchor": anchor, "try_at": None, "error": None}
    _change(tx, ledger_id, values)


def postpone(tx: Transaction, ledger_id: int, try_at: int | None, error: str) -> None:
    """Note why a ledger could not be anchored, and when to try again, None for never."""
    _change(tx, ledger_id, {"try_at": try_at, "error": error})


def _change(tx: Transaction, ledger_id: int, values: Mapping[str, int | str | None]) -> None:
    tx.execute(
        update(t.closings)
        .where(_c.ledger_id == ledger_id, _c.anchor.is_(None))
        .values({_c[name]: value for name, value in values.items()})
    )
