"""Allowances: what is used of budgets, and how often something happened in the last minute.

Read and written inside the append transaction, behind the ledger's lock: a row a key, a read and
a write a batch. It is about now, and no part of what a log proves: what was spent stands in the
records.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import BigInteger, bindparam, delete, select

from ledger_core.policy.allowances import Spent, State, Window, ends_ms
from ledger_core.storage import tables as t
from ledger_core.storage.database import Dialect, Transaction
from ledger_core.storage.prepared import Among, Bound, Prepared, Row, in_parts

_a = t.allowances.c
_LEDGER = bindparam("ledger", type_=BigInteger)
_FIND = Prepared(
    select(_a.key, _a.amount, _a.until_ms, _a.counts).where(
        _a.ledger_id == _LEDGER, Among(_a.key, "keys")
    ),
    lists=["keys"],
)
_KEY, _VALUES = ("ledger_id", "key"), ("amount", "counts", "until_ms")


def finding(tx: Transaction, ledger_id: int, keys: Collection[bytes]) -> list[Bound]:
    """Return the queries for what is known of those keys; :func:`found` reads their rows."""
    return [_FIND.bind(tx, ledger=ledger_id, keys=part) for part in in_parts(keys)]


def found(answers: Iterable[Sequence[Row]]) -> dict[bytes, State]:
    """Return what is known of those keys of which anything is."""
    return {
        key: Spent(amount, until_ms) if counts is None else _window(amount, counts)
        for rows in answers
        for key, amount, until_ms, counts in rows
    }


def put(
    tx: Transaction,
    dialect: Dialect,
    ledger_id: int,
    changed: Mapping[bytes, State],
    known: Mapping[bytes, State],
) -> None:
    """Store what changed; ``known``: what there are rows of.

    A row's end has an index, which is left alone where the end stays what it is.
    """
    new: list[Row] = []
    moved: list[Row] = []
    lasting: list[Row] = []
    for key, state in changed.items():
        before = known.get(key)
        amount, counts = _values(state)
        end = ends_ms(state)
        if before is None:
            new.append((ledger_id, key, amount, end, counts))
        elif ends_ms(before) == end:
            lasting.append((amount, counts, ledger_id, key))
        else:
            moved.append((amount, counts, end, ledger_id, key))
    if new:
        dialect.insert_many(tx, t.allowances, new)
    if lasting:
        dialect.update_many(tx, t.allowances, _KEY, _VALUES[:2], lasting)
    if moved:
        dialect.update_many(tx, t.allowances, _KEY, _VALUES, moved)


def forget(tx: Transaction, ledger_id: int, now_ms: int, most: int) -> int:
    """Delete rows that say nothing any more, at most so many; return how many these were."""
    is_own = _a.ledger_id == ledger_id
    over = select(_a.key).where(is_own, _a.until_ms <= now_ms).order_by(_a.until_ms).limit(most)
    return tx.execute(delete(t.allowances).where(is_own, _a.key.in_(over))).rowcount


def _values(state: State) -> tuple[int, bytes | None]:
    if isinstance(state, Spent):
        return state.microusd, None
    return state.second, struct.pack(f">{len(state.counts)}I", *state.counts)


def _window(second: int, counts: bytes) -> Window:
    return Window(second, struct.unpack(f">{len(counts) // 4}I", counts))
