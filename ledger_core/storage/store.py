"""Reading and writing ground truth. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Select,
    bindparam,
    case,
    insert,
    select,
    update,
)

from ledger_core.errors import IntegrityError, NotFoundError
from ledger_core.formats.record import Part
from ledger_core.storage import tables as t
from ledger_core.storage.database import Dialect, Transaction
from ledger_core.storage.erasures import Erased
from ledger_core.storage.prepared import Among, Bound, Prepared, Row, in_parts, query_all


@dataclass(frozen=True)
class Head:
    """Where a ledger stands: its size and root, its newest leaf hash and time received (ms)."""

    size: int
    root: bytes
    last_leaf: bytes
    received_at: int


class Opened(msgspec.Struct, frozen=True):
    """What an append begins with: the head, and what is known of its ids and references.

    ``more``: the rows of each query that was asked with them.
    """

    head: Head
    taken: dict[bytes, StoredEntry]
    known_refs: dict[bytes, int]
    more: list[list[Row]]


class Since(msgspec.Struct, frozen=True):
    """What was appended in a range of indexes: leaf hashes, the last leaf, and which entries of it
    make the constitution."""

    leaf_hashes: list[bytes]
    last_leaf: bytes
    constitutional: list[int]


class StoredPart(msgspec.Struct, frozen=True):
    """A payload part as it lies in the database: sealed under a data key, or in the clear.

    A sealed one has ``key_id`` and no ``salt``, which is sealed with the data; one in the clear,
    of a governance record, has a salt and no key.
    """

    salt: bytes | None
    data: bytes
    key_id: bytes | None


class Gone(Enum):
    """Why a payload part is not there."""

    ROW = "its row is gone"
    KEY = "its key is gone"


class NewEntry(msgspec.Struct, frozen=True):
    """An entry about to be stored, with its payload."""

    index: int
    previous: bytes
    leaf_hash: bytes
    record_id: bytes
    leaf: bytes
    parts: Mapping[str, StoredPart]


class SealedEntry(msgspec.Struct, frozen=True):
    """An entry as it lies in the database, its payload still sealed."""

    index: int
    leaf_hash: bytes
    leaf: bytes
    parts: Mapping[str, StoredPart]


class StoredEntry(msgspec.Struct, frozen=True):
    """An entry with the payload parts that are still there, opened, and those that are gone."""

    index: int
    leaf_hash: bytes
    leaf: bytes
    parts: Mapping[str, Part]
    gone: Mapping[str, Gone | Erased] = {}


# --- statements of the append and proof paths --------------------------------------
#
# Compiled once: making a statement costs more than running it.

_h, _e, _p = t.heads.c, t.entries.c, t.payloads.c
_c, _t = t.checkpoints.c, t.tiles.c
_LEDGER = bindparam("ledger", type_=BigInteger)
_START, _END = bindparam("start", type_=BigInteger), bindparam("end", type_=BigInteger)

_HEAD = select(_h.size, _h.root, _h.last_leaf, _h.received_at).where(_h.ledger_id == _LEDGER)
_READ_HEAD = Prepared(_HEAD)
_LOCK_HEAD = Prepared(_HEAD.with_for_update())
_READ_SIZES = Prepared(select(_h.ledger_id, _h.size))
_MOVE_HEAD = Prepared(
    update(t.heads)
    .where(_h.ledger_id == _LEDGER)
    .values({name: bindparam(name) for name in ("size", "root", "last_leaf", "received_at")})
)
_FIND_RECORDS = Prepared(
    select(_e.record_id, _e.index, _e.leaf_hash, _e.leaf).where(
        _e.ledger_id == _LEDGER, Among(_e.record_id, "record_ids")
    ),
    lists=["record_ids"],
)
_FIND_FOLLOWING = Prepared(
    select(_e.previous, _e.index).where(_e.ledger_id == _LEDGER, Among(_e.previous, "previous")),
    lists=["previous"],
)
_IN_RANGE = (_e.ledger_id == _LEDGER) & (_e.index >= _START) & (_e.index < _END)
_READ_LEAF_HASHES = Prepared(select(_e.leaf_hash).where(_IN_RANGE).order_by(_e.index))
_READ_LEAVES = Prepared(select(_e.leaf).where(_IN_RANGE).order_by(_e.index))
_READ_SINCE = Prepared(
    select(_e.leaf_hash, case((_e.index == bindparam("last"), _e.leaf)), t.constitutional.c.index)
    .select_from(
        t.entries.outerjoin(
            t.constitutional,
            (t.constitutional.c.ledger_id == _e.ledger_id) & (t.constitutional.c.index == _e.index),
        )
    )
    .where(_IN_RANGE)
    .order_by(_e.index)
)
_READ_PARTS = Prepared(
    select(_p.index, _p.part, _p.salt, _p.data, _p.key_id).where(
        _p.ledger_id == _LEDGER,
        Among(_p.index, "indexes"),
        Among(_p.part, "names"),
    ),
    lists=["indexes", "names"],
)


class _Reading(NamedTuple):
    """One query for entries that follow each other, and one for any."""

    stretch: Prepared
    some: Prepared


def _reading(query: Select[Any], c: Any) -> _Reading:
    query = query.where(c.ledger_id == _LEDGER)
    return _Reading(
        Prepared(query.where(c.index >= _START, c.index < _END)),
        Prepared(query.where(Among(c.index, "indexes")), lists=["indexes"]),
    )


_ENTRIES_AT = _reading(select(_e.index, _e.leaf_hash, _e.leaf).order_by(_e.index), _e)
_PARTS_AT = _reading(
    select(_p.index, _p.part, _p.salt, _p.data, _p.key_id).order_by(_p.index, _p.part), _p
)

# --- heads -----------------------------------------------------------------------


def open_append(
    tx: Transaction,
    ledger_id: int,
    record_ids: Sequence[bytes],
    leaf_hashes: Collection[bytes],
    more: Sequence[Bound] = (),
) -> Opened:
    """Keep every other writer of this ledger out until the commit, then read what they left.

    An entry's leaf hash is the next one's ``previous``, which has an index already. ``more``:
    what else is asked behind the lock, in the same way there and back.
    """
    queries = [
        _LOCK_HEAD.bind(tx, ledger=ledger_id),
        _FIND_RECORDS.bind(tx, ledger=ledger_id, record_ids=list(record_ids)),
        *more,
    ]
    for part in in_parts(leaf_hashes):
        queries.append(_FIND_FOLLOWING.bind(tx, ledger=ledger_id, previous=part))
    heads, records, *others = query_all(tx, queries)
    head = _head(heads)
    asked, following = others[: len(more)], others[len(more) :]
    indexes = {row[0]: row[1] - 1 for rows in following for row in rows if row[1] > 0}
    if head.last_leaf in leaf_hashes:
        indexes[head.last_leaf] = head.size - 1
    return Opened(head, _records(records), indexes, asked)


def read_head(tx: Transaction, ledger_id: int) -> Head:
    return _head(_READ_HEAD.rows(tx, ledger=ledger_id))


def _head(rows: Sequence[Row]) -> Head:
    if not rows:
        raise IntegrityError("the ledger has no head")
    return Head(*rows[0])


def read_sizes(tx: Transaction) -> dict[int, int]:
    """Return every ledger's size, by ledger id."""
    return {row[0]: row[1] for row in _READ_SIZES.rows(tx)}


def add_head(tx: Transaction, ledger_id: int, head: Head) -> None:
    tx.execute(insert(t.heads).values(ledger_id=ledger_id, **vars(head)))


def move_head(tx: Transaction, ledger_id: int, head: Head) -> None:
    _MOVE_HEAD.run(tx, ledger=ledger_id, **vars(head))


# --- entries and payloads --------------------------------------------------------


def add_entries(
    tx: Transaction, dialect: Dialect, ledger_id: int, entries: Sequence[NewEntry]
) -> None:
    rows = [(ledger_id, e.index, e.previous, e.leaf_hash, e.record_id, e.leaf) for e in entries]
    dialect.insert_many(tx, t.entries, rows)
    parts = [
        (ledger_id, e.index, name, part.salt, part.data, part.key_id)
        for e in entries
        for name, part in e.parts.items()
    ]
    if parts:
        dialect.insert_many(tx, t.payloads, parts)


def find_by_record_id(
    tx: Transaction, ledger_id: int, record_ids: Sequence[bytes]
) -> dict[bytes, StoredEntry]:
    """Return the entries of those record ids that are taken, without payload."""
    return _records(_FIND_RECORDS.rows(tx, ledger=ledger_id, record_ids=list(record_ids)))


def _records(rows: Sequence[Row]) -> dict[bytes, StoredEntry]:
    return {row[0]: StoredEntry(row[1], row[2], row[3], {}) for row in rows}


def find_indexes(
    tx: Transaction, ledger_id: int, leaf_hashes: Collection[bytes]
) -> dict[bytes, int]:
    """Return the indexes of those of the named entries that exist."""
    if not leaf_hashes:
        return {}
    found: dict[bytes, int] = {}
    for part in in_parts(leaf_hashes):
        rows = _FIND_FOLLOWING.rows(tx, ledger=ledger_id, previous=part)
        found |= {row[0]: row[1] - 1 for row in rows if row[1] > 0}
    head = read_head(tx, ledger_id)
    if head.last_leaf in leaf_hashes:
        found[head.last_leaf] = head.size - 1
    return found


def read_leaf_hashes(tx: Transaction, ledger_id: int, start: int, end: int) -> list[bytes]:
    """Return the leaf hashes of entries ``[start, end)``."""
    rows = _READ_LEAF_HASHES.rows(tx, ledger=ledger_id, start=start, end=end)
    return [row[0] for row in rows]


def read_since(tx: Transaction, ledger_id: int, start: int, end: int) -> Since:
    """Return what was appended as entries ``[start, end)``, in one query."""
    rows = _READ_SINCE.rows(tx, ledger=ledger_id, start=start, end=end, last=end - 1)
    last_leaf = (rows[-1][1] if rows else None) or b""
    constitutional = [index for _, _, index in rows if index is not None]
    return Since([row[0] for row in rows], last_leaf, constitutional)


def read_leaves(tx: Transaction, ledger_id: int, start: int, end: int) -> list[bytes]:
    """Return the leaves of entries ``[start, end)``."""
    return [row[0] for row in _READ_LEAVES.rows(tx, ledger=ledger_id, start=start, end=end)]


def read_entries(
    tx: Transaction, ledger_id: int, indexes: Sequence[int] | range, *, with_payload: bool = True
) -> list[SealedEntry]:
    """Return the named entries that exist, in order of index; their payload is still sealed."""
    rows = _read_at(tx, _ENTRIES_AT, ledger_id, indexes)
    parts = _by_index(_read_at(tx, _PARTS_AT, ledger_id, indexes)) if with_payload else {}
    return [SealedEntry(row[0], row[1], row[2], parts.get(row[0], {})) for row in rows]


def _read_at(
    tx: Transaction, reading: _Reading, ledger_id: int, indexes: Sequence[int] | range
) -> list[Row]:
    if isinstance(indexes, range) and indexes.step == 1:
        stretch = reading.stretch
        return stretch.rows(tx, ledger=ledger_id, start=indexes.start, end=indexes.stop)
    found: list[Row] = []
    for some in in_parts(sorted(set(indexes))):
        found += reading.some.rows(tx, ledger=ledger_id, indexes=some)
    return found


def read_parts(
    tx: Transaction, ledger_id: int, indexes: Sequence[int], names: Sequence[str]
) -> dict[int, dict[str, StoredPart]]:
    """Return those of the entries' named payload parts that are there, still sealed, by index."""
    return _by_index(
        _READ_PARTS.rows(tx, ledger=ledger_id, indexes=list(indexes), names=list(names))
    )


def _by_index(rows: Iterable[Sequence[Any]]) -> dict[int, dict[str, StoredPart]]:
    parts: dict[int, dict[str, StoredPart]] = {}
    for row in rows:
        parts.setdefault(row[0], {})[row[1]] = StoredPart(row[2], row[3], row[4])
    return parts


def plain_part(index: int, part: StoredPart) -> Part:
    """Return a part that lies in the clear; :class:`IntegrityError` if it does not."""
    if part.salt is None or part.key_id is not None:
        message = f"entry {index}: a part is sealed that ought to be in the clear"
        raise IntegrityError(message, index=index)
    return Part(part.salt, part.data)


def read_entry(tx: Transaction, ledger_id: int, index: int) -> SealedEntry:
    found = read_entries(tx, ledger_id, [index])
    if not found:
        raise NotFoundError(f"no entry {index}")
    return found[0]
