"""Erased parts: what an order to erase reaches, noted before anything is destroyed.

A row stays when key and ciphertext are gone. It is what lets a crash be followed by the rest of
the work, says how many parts an order took, and finds the key again in a key store that was
restored from an older backup.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec
from sqlalchemy import BigInteger, bindparam, delete, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from ledger_core.storage import tables as t
from ledger_core.storage.database import Transaction
from ledger_core.storage.prepared import Among, Prepared

_x, _p = t.erased.c, t.payloads.c
_LEDGER = bindparam("ledger", type_=BigInteger)
_FIND_KEYS = Prepared(
    select(_p.index, _p.part, _p.key_id).where(_p.ledger_id == _LEDGER, Among(_p.index, "indexes")),
    lists=["indexes"],
)
_NOTE = {
    "sqlite": sqlite.insert(t.erased).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(t.erased).on_conflict_do_nothing(),
}
_DELETE = delete(t.payloads).where(
    _p.ledger_id == _LEDGER,
    _p.index == bindparam("at", type_=BigInteger),
    _p.part == bindparam("name"),
)


class Erased(msgspec.Struct, frozen=True):
    """A payload part is not there because it was ordered so, from entry ``at`` on."""

    at: int


class Target(msgspec.Struct, frozen=True):
    """A part that an order reaches: of which entry and type, and its commitment."""

    index: int
    part: str
    type: str
    commitment: bytes


class ErasedPart(msgspec.Struct, frozen=True):
    """A part that was reached. ``key_id``: the data key it lay under, None if it had none.

    ``by``: leaf hash of the order.
    """

    ledger_id: int
    index: int
    part: str
    type: str
    commitment: bytes
    key_id: bytes | None
    by: bytes


def note(tx: Transaction, ledger_id: int, by: bytes, targets: Sequence[Target]) -> None:
    """Note that an order reaches these parts, and their keys; what is noted stays as it is."""
    if not targets:
        return
    indexes = sorted({each.index for each in targets})
    keys = {(row[0], row[1]): row[2] for row in _FIND_KEYS.rows(
        tx, ledger=ledger_id, indexes=indexes
    )}  # fmt: skip
    rows = [
        {
            "ledger_id": ledger_id,
            "index": each.index,
            "part": each.part,
            "type": each.type,
            "commitment": each.commitment,
            "key_id": keys.get((each.index, each.part)),
            "by": by,
        }
        for each in targets
    ]
    tx.execute(_NOTE[tx.dialect.name], rows)


def read_reached(
    tx: Transaction, ledger_id: int, by: bytes, after: tuple[int, str], limit: int
) -> list[ErasedPart]:
    """Return parts that an order took, in order of index and part, those behind ``after``."""
    query = (
        select(t.erased)
        .where(_x.ledger_id == ledger_id, _x.by == by, tuple_(_x.index, _x.part) > after)
        .order_by(_x.index, _x.part)
        .limit(limit)
    )
    return [ErasedPart(*row) for row in tx.execute(query)]


def read_all(tx: Transaction, after: tuple[int, int, str], limit: int) -> list[ErasedPart]:
    """Return erased parts of all ledgers, those behind ``after``: ledger, index, part."""
    query = (
        select(t.erased)
        .where(tuple_(_x.ledger_id, _x.index, _x.part) > after)
        .order_by(_x.ledger_id, _x.index, _x.part)
        .limit(limit)
    )
    return [ErasedPart(*row) for row in tx.execute(query)]


def count(tx: Transaction, ledger_id: int, by: bytes) -> int:
    """Return how many parts an order took."""
    query = select(func.count()).where(_x.ledger_id == ledger_id, _x.by == by)
    return int(tx.execute(query).scalar_one())


def reaches_into(tx: Transaction, ledger_id: int, by: bytes, start: int, end: int) -> bool:
    """Say whether an order took a part of entries ``[start, end)``."""
    query = select(_x.index).where(
        _x.ledger_id == ledger_id, _x.by == by, _x.index >= start, _x.index < end
    )
    return tx.execute(query.limit(1)).first() is not None


def delete_payloads(tx: Transaction, parts: Collection[ErasedPart]) -> None:
    """Delete the rows of parts; those that are gone already stay gone."""
    rows = [{"ledger": each.ledger_id, "at": each.index, "name": each.part} for each in parts]
    if rows:
        tx.execute(_DELETE, rows)


def read_undone(tx: Transaction, limit: int) -> Iterator[tuple[int, int, str]]:
    """Yield parts that were noted as erased and still have a row: ledger, index and part."""
    query = (
        select(_x.ledger_id, _x.index, _x.part)
        .join(
            t.payloads,
            (_p.ledger_id == _x.ledger_id) & (_p.index == _x.index) & (_p.part == _x.part),
        )
        .limit(limit)
    )
    for row in tx.execute(query):
        yield row[0], row[1], row[2]
