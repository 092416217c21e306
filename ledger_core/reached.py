"""Reached: which payload parts an order to erase takes, read from ground truth alone.

An ``erasure/1`` names them. A ``retention/1`` takes a part of all entries of a type that were
received before a time: time received never decreases, so these are the entries before an index,
found by halving; and those before the last order's are taken already, but for entries that were
held then and have been released since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ledger_core import clock, ids
from ledger_core.constitutions import ConstitutionReader
from ledger_core.erased import NOW
from ledger_core.errors import IntegrityError, LedgerGridError
from ledger_core.formats.entry import look_into
from ledger_core.formats.record import PartRef, parse_record
from ledger_core.merkle.tree import leaf_hash
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect, retired_at
from ledger_core.records.model import decode_payload
from ledger_core.records.registry import find_type
from ledger_core.records.types.erasure import Erasure
from ledger_core.records.types.retention import Retention
from ledger_core.storage import effects, store
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.erasures import Target
from ledger_core.storage.store import SealedEntry

_AT_ONCE = 1_000


class _Record(msgspec.Struct):
    """What is asked of a record here. It was checked in full when it was admitted."""

    type: str
    author: str
    payload: dict[str, PartRef] = {}


_RECORDS = msgspec.json.Decoder(_Record)


def read_reached(database: Database, ledger_id: int, order: Effect) -> Iterator[list[Target]]:
    """Yield the parts that an order in force takes, some at a time."""
    body = read_order(database, ledger_id, order)
    if isinstance(body, Erasure):
        yield from _named(database, ledger_id, body)
    else:
        yield from _retired(database, ledger_id, order, body)


def read_order(database: Database, ledger_id: int, order: Effect) -> Erasure | Retention:
    """Return what an order says; governance lies in the clear."""
    with database.read() as tx:
        entry = store.read_entry(tx, ledger_id, order.index)
    if leaf_hash(entry.leaf) != order.leaf_hash:
        raise IntegrityError(f"entry {order.index} is not the order to erase", index=order.index)
    parts = {name: store.plain_part(entry.index, part) for name, part in entry.parts.items()}
    try:
        record = parse_record(look_into(entry.leaf)[1])
        body: Erasure | Retention = decode_payload(find_type(record.type), record, parts)["body"]
    except LedgerGridError as error:
        raise IntegrityError(f"entry {order.index}: {error}", index=order.index) from error
    return body


# --- by name -------------------------------------------------------------------------


def _named(database: Database, ledger_id: int, body: Erasure) -> Iterator[list[Target]]:
    wanted = {ids.parse_digest(each.entry): each.parts for each in body.targets}
    names = list(wanted)
    for at in range(0, len(names), _AT_ONCE):
        with database.read() as tx:
            indexes = store.find_indexes(tx, ledger_id, names[at : at + _AT_ONCE])
            found = store.read_entries(tx, ledger_id, sorted(indexes.values()), with_payload=False)
        yield [target for entry in found for target in _targets(entry, wanted[entry.leaf_hash])]


def _targets(entry: SealedEntry, parts: Iterable[str]) -> Iterator[Target]:
    record = _see(entry)
    for part in parts:
        ref = record.payload.get(part)
        if ref is not None:  # An order may name a part that the entry never had.
            yield Target(entry.index, part, record.type, ids.parse_digest(ref.commitment))


def _see(entry: SealedEntry) -> _Record:
    if leaf_hash(entry.leaf) != entry.leaf_hash:
        raise IntegrityError(f"entry {entry.index} lost its leaf hash", index=entry.index)
    try:
        return _RECORDS.decode(look_into(entry.leaf)[1])
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError) as error:
        raise IntegrityError(f"entry {entry.index}: {error}", index=entry.index) from None


# --- by schedule ---------------------------------------------------------------------


def find_first_since(tx: Transaction, ledger_id: int, time_ms: int, size: int) -> int:
    """Return the index of the first of ``size`` entries received at ``time_ms`` or later."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        leaf = store.read_leaves(tx, ledger_id, middle, middle + 1)[0]
        if clock.parse_time(look_into(leaf)[0]) < time_ms:
            low = middle + 1
        else:
            high = middle
    return low


def find_range(
    tx: Transaction, ledger_id: int, constitution: Constitution, order: Retention, at: int
) -> range:
    """Return the entries that an order at ``at`` is the first to reach, but for released ones."""
    history = constitution.retentions.get((order.type, order.part), ())
    before = [each for each in history if each[0] < at]
    start = find_first_since(tx, ledger_id, before[-1][1], before[-1][0]) if before else 0
    return range(
        start, find_first_since(tx, ledger_id, clock.parse_time(order.received_before), at)
    )


def _retired(
    database: Database, ledger_id: int, effect: Effect, order: Retention
) -> Iterator[list[Target]]:
    with database.read() as tx:
        constitution = ConstitutionReader(ledger_id).read(tx)
    for targets, _ in _reach(database, ledger_id, constitution, order, effect.index):
        yield targets


def read_due(
    database: Database, ledger_id: int, constitution: Constitution, order: Retention
) -> Iterator[tuple[list[Target], int]]:
    """Yield what an order would take if it were the next entry, and how many held entries not."""
    with database.read() as tx:
        size = store.read_head(tx, ledger_id).size
    tried = constitution.copy()
    name, before = (order.type, order.part), clock.parse_time(order.received_before)
    tried.retentions[name] = (*tried.retentions.get(name, ()), (size, before))
    yield from _reach(database, ledger_id, tried, order, size)


def _reach(
    database: Database, ledger_id: int, constitution: Constitution, order: Retention, at: int
) -> Iterator[tuple[list[Target], int]]:
    """Yield what the order at ``at`` is the first to take, and how many held entries it spares."""
    with database.read() as tx:
        reach = find_range(tx, ledger_id, constitution, order, at)
    after = 0
    while after < reach.start:
        with database.read() as tx:
            changed = effects.read_changed(tx, ledger_id, after, reach.start, _AT_ONCE)
            held = [each.index for each in changed if each.holdings]
            yield _take(tx, ledger_id, constitution, order, at, held)
        after = changed[-1].index + 1 if changed else reach.start
    for start in range(reach.start, reach.stop, _AT_ONCE):
        with database.read() as tx:
            indexes = list(range(start, min(start + _AT_ONCE, reach.stop)))
            yield _take(tx, ledger_id, constitution, order, at, indexes)


def _take(
    tx: Transaction,
    ledger_id: int,
    constitution: Constitution,
    order: Retention,
    at: int,
    indexes: Sequence[int],
) -> tuple[list[Target], int]:
    """Return what the order at ``at`` takes of these entries, and how many held ones it spares."""
    found: list[Target] = []
    spared = 0
    entries = store.read_entries(tx, ledger_id, indexes, with_payload=False) if indexes else []
    changed = effects.find_changed(tx, ledger_id, [each.index for each in entries])
    for entry in entries:
        record = _see(entry)
        if record.type != order.type or order.part not in record.payload:
            continue
        effect = changed.get(entry.index)
        effect = effect or Effect(entry.index, entry.leaf_hash, record.type, record.author)
        received_at = clock.parse_time(look_into(entry.leaf)[0])
        taken_at = retired_at(constitution, effect, received_at, order.part, NOW)
        if order.part in effect.erased_at(at) or (taken_at is not None and taken_at < at):
            continue
        if taken_at == at:
            found.extend(_targets(entry, (order.part,)))
        elif effect.cases_at(at):
            spared += 1
    return found, spared
