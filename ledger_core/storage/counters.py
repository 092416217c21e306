"""Counters: to which entry each number of a stream was given first, noted as it is appended.

An index and no more: what it says is compared with the entry it points to before it counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import BigInteger, bindparam, select

from ledger_core.errors import IntegrityError
from ledger_core.formats.entry import parse_entry
from ledger_core.merkle.tree import leaf_hash
from ledger_core.policy.streams import counter_of
from ledger_core.records.registry import find_type
from ledger_core.storage import store
from ledger_core.storage import tables as t
from ledger_core.storage.database import Dialect, Transaction
from ledger_core.storage.prepared import Among, Prepared, in_parts

_c = t.counters.c
_FIND = Prepared(
    select(_c.counter, _c.index).where(
        _c.ledger_id == bindparam("ledger", type_=BigInteger), Among(_c.counter, "counters")
    ),
    lists=["counters"],
)


def find_firsts(tx: Transaction, ledger_id: int, counters: Collection[bytes]) -> dict[bytes, bytes]:
    """Return the leaf hash of the first entry with each of these counters that was given before.

    Raises :class:`IntegrityError` if an entry does not have the counter noted for it.
    """
    found: dict[bytes, int] = {}
    for part in in_parts(counters):
        found |= {row[0]: row[1] for row in _FIND.rows(tx, ledger=ledger_id, counters=part)}
    return _read_firsts(tx, ledger_id, found) if found else {}


def _read_firsts(tx: Transaction, ledger_id: int, found: Mapping[bytes, int]) -> dict[bytes, bytes]:
    indexes = sorted(set(found.values()))
    firsts: dict[bytes, bytes] = {}
    for each in store.read_entries(tx, ledger_id, indexes, with_payload=False):
        if leaf_hash(each.leaf) != each.leaf_hash:
            raise IntegrityError(f"entry {each.index} lost its leaf hash", index=each.index)
        record = parse_entry(each.leaf).signed_record().record
        counter = counter_of(find_type(record.type), record)
        if counter is not None and found.get(counter) == each.index:
            firsts[counter] = each.leaf_hash
    if firsts.keys() != found.keys():
        raise IntegrityError("a counter is noted at an entry without it", index=indexes[0])
    return firsts


def add(tx: Transaction, dialect: Dialect, ledger_id: int, given: Mapping[bytes, int]) -> None:
    """Note to which entries counters were given first."""
    if given:
        rows = [(ledger_id, counter, index) for counter, index in given.items()]
        dialect.insert_many(tx, t.counters, rows)
