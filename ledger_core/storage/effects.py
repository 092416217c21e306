"""What holds of changed entries: written as changes are appended, read to judge the next one.

A memory of what the log says; the verifier computes the same from the entries alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, bindparam, select, text

from ledger_core.errors import IntegrityError
from ledger_core.policy.changes import Amendment, Change, topic_of
from ledger_core.policy.effects import Effect
from ledger_core.policy.visibility import read_subject
from ledger_core.records.rules import AMENDS
from ledger_core.records.types.erasure import ERASURE_1, Erasure
from ledger_core.records.types.hold import HOLD_1, Hold
from ledger_core.records.types.redaction import REDACTION_1, Redact, Unredact
from ledger_core.records.types.rollback import ROLLBACK_1, Rollback
from ledger_core.storage import store
from ledger_core.storage import tables as t
from ledger_core.storage.database import Transaction
from ledger_core.storage.prepared import Among, Prepared, in_parts

_f = t.effects.c
_LEDGER = bindparam("ledger", type_=BigInteger)
_FIND = Prepared(
    select(_f.body).where(_f.ledger_id == _LEDGER, Among(_f.leaf_hash, "leaf_hashes")),
    lists=["leaf_hashes"],
)
_FIND_BY_INDEX = Prepared(
    select(_f.body).where(_f.ledger_id == _LEDGER, Among(_f.index, "indexes")),
    lists=["indexes"],
)
_p = t.payloads.c
_FIND_PARTS = Prepared(
    select(_p.index, _p.part).where(_p.ledger_id == _LEDGER, Among(_p.index, "indexes")),
    lists=["indexes"],
)
_PUT = text(
    'INSERT INTO effects (ledger_id, "index", leaf_hash, ordered_at, done_at, body) '
    "VALUES (:ledger_id, :index, :leaf_hash, :ordered_at, :done_at, :body) "
    'ON CONFLICT (ledger_id, "index") DO UPDATE SET '
    "ordered_at = excluded.ordered_at, done_at = excluded.done_at, body = excluded.body"
)


class _Stored(msgspec.Struct, frozen=True):
    topic: str
    body: msgspec.Raw


# Made at import: msgspec learns a type when it first decodes one, and not safely in two threads.
_EFFECTS = msgspec.json.Decoder(Effect)
_STORED = msgspec.json.Decoder(_Stored)
_CHANGES: dict[str, msgspec.json.Decoder[Any]] = {
    AMENDS: msgspec.json.Decoder(Amendment),
    ROLLBACK_1.name: msgspec.json.Decoder(Rollback),
    REDACTION_1.name: msgspec.json.Decoder(Redact | Unredact),
    HOLD_1.name: msgspec.json.Decoder(Hold),
    ERASURE_1.name: msgspec.json.Decoder(Erasure),
}


def format_change(change: Change) -> bytes:
    body = msgspec.Raw(msgspec.json.encode(change))
    return msgspec.json.encode(_Stored(topic_of(change), body))


def parse_change(data: bytes) -> Change:
    """Raises :class:`IntegrityError` for what :func:`format_change` does not make."""
    try:
        stored = _STORED.decode(data)
        change: Change = _CHANGES[stored.topic].decode(stored.body)
        return change
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
        raise IntegrityError(f"a proposed change cannot be read: {error}") from None


def _parse(body: bytes) -> Effect:
    try:
        return _EFFECTS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"an effect cannot be read: {error}") from None


def find(tx: Transaction, ledger_id: int, leaf_hashes: Collection[bytes]) -> dict[bytes, Effect]:
    """Return what holds of those of the named entries that exist, changed or not.

    Of amendments among them, the first versions are found too.
    """
    found = _find_stored(tx, ledger_id, leaf_hashes)
    originals = {each.original for each in found.values() if each.original} - found.keys()
    found |= _find_stored(tx, ledger_id, originals)
    return found | _make(tx, ledger_id, ({*leaf_hashes} | originals) - found.keys())


def _find_stored(
    tx: Transaction, ledger_id: int, leaf_hashes: Collection[bytes]
) -> dict[bytes, Effect]:
    found: dict[bytes, Effect] = {}
    for part in in_parts(leaf_hashes):
        for row in _FIND.rows(tx, ledger=ledger_id, leaf_hashes=part):
            effect = _parse(row[0])
            found[effect.leaf_hash] = effect
    return found


def _make(tx: Transaction, ledger_id: int, leaf_hashes: Collection[bytes]) -> dict[bytes, Effect]:
    """Return the empty effects of entries that were never changed."""
    indexes = store.find_indexes(tx, ledger_id, leaf_hashes)
    made: dict[bytes, Effect] = {}
    for part in in_parts(sorted(indexes.values())):
        for entry in store.read_entries(tx, ledger_id, part, with_payload=False):
            subject = read_subject(entry.index, entry.leaf)
            made[entry.leaf_hash] = Effect(
                entry.index, entry.leaf_hash, subject.type, subject.author, subject.parts
            )
    return made


def find_changed(tx: Transaction, ledger_id: int, indexes: Sequence[int]) -> dict[int, Effect]:
    """Return, by index, what holds of those entries of which anything does."""
    found: dict[int, Effect] = {}
    for part in in_parts(indexes):
        for row in _FIND_BY_INDEX.rows(tx, ledger=ledger_id, indexes=part):
            effect = _parse(row[0])
            found[effect.index] = effect
    return found


def find_part_names(
    tx: Transaction, ledger_id: int, indexes: Sequence[int]
) -> dict[int, frozenset[str]]:
    """Return which parts of the named entries' payloads are there."""
    names: dict[int, set[str]] = {}
    for some in in_parts(indexes):
        for index, part in _FIND_PARTS.rows(tx, ledger=ledger_id, indexes=some):
            names.setdefault(index, set()).add(part)
    return {index: frozenset(each) for index, each in names.items()}


def read_changed(tx: Transaction, ledger_id: int, start: int, end: int, limit: int) -> list[Effect]:
    """Return what holds of changed entries of ``[start, end)``, in order of index."""
    query = (
        select(_f.body)
        .where(_f.ledger_id == ledger_id, _f.index >= start, _f.index < end)
        .order_by(_f.index)
        .limit(limit)
    )
    return [_parse(row[0]) for row in tx.execute(query)]


def read_to_do(tx: Transaction, limit: int) -> list[tuple[int, Effect]]:
    """Return orders to erase that are in force and not done, with their ledger id, oldest first."""
    query = (
        select(_f.ledger_id, _f.body)
        .where(_f.ordered_at.is_not(None), _f.done_at.is_(None))
        .order_by(_f.ordered_at)
        .limit(limit)
    )
    return [(row[0], _parse(row[1])) for row in tx.execute(query)]


def put(tx: Transaction, ledger_id: int, altered: Iterable[Effect]) -> None:
    rows = [
        {
            "ledger_id": ledger_id,
            "index": each.index,
            "leaf_hash": each.leaf_hash,
            "ordered_at": each.ordered_at,
            "done_at": each.done_at,
            "body": msgspec.json.encode(each),
        }
        for each in altered
    ]
    if rows:
        tx.execute(_PUT, rows)


_VEILED = {
    "sqlite": "instr(body, CAST('\"veils\":[{' AS BLOB)) > 0",
    "postgresql": "position('\"veils\":[{'::bytea in body) > 0",
}


def find_veiled(tx: Transaction, ledger_id: int) -> list[Effect]:
    """Return what holds of entries that were ever redacted; looks at all that were changed."""
    query = select(_f.body).where(_f.ledger_id == ledger_id, text(_VEILED[tx.dialect.name]))
    return [_parse(row[0]) for row in tx.execute(query)]
