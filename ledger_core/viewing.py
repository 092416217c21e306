"""What the views say of an entry: its row, made of its record and of some parts of its payload.

An entry is seen once: looked into as it is stored, or known still from when it was appended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ledger_core import ids, limits
from ledger_core.admission import Admitted
from ledger_core.clock import parse_time
from ledger_core.errors import IntegrityError, MalformedError
from ledger_core.formats.entry import look_into
from ledger_core.formats.record import Part, PartRef, Record, Ref
from ledger_core.policy.calls import TYPES, CallPart, call_part
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.register import REGISTERED, register_of
from ledger_core.policy.visibility import Circle, Subject, entry_circle, payload_circle
from ledger_core.records.model import JSON, Payload, decode_part
from ledger_core.records.registry import ALL, find_type
from ledger_core.storage.store import SealedEntry, StoredEntry
from ledger_core.storage.views import ViewRow

PARTS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    kind.name: kind.viewed_parts if kind.is_viewed or kind.name in REGISTERED else ()
    for kind in ALL
}
"""The payload parts that the views need of a type."""

VIEWED_PARTS: Final = sorted({name for names in PARTS_OF.values() for name in names})


class _Record(msgspec.Struct):
    """What the views need of a record. It was checked in full when it was admitted."""

    type: str
    author: str
    payload: dict[str, PartRef] = {}
    stream: str | msgspec.UnsetType = msgspec.UNSET
    refs: tuple[Ref, ...] = ()
    parties: tuple[str, ...] = ()


class Seen(msgspec.Struct, frozen=True):
    """An entry as far as the views look at it. ``received_at`` in ms.

    ``payload``: those parts that they need, decoded, if it was just appended; None if it is to be
    read.
    """

    index: int
    leaf_hash: bytes
    received_at: int
    record: Record | _Record
    payload: Payload | None = None

    @property
    def viewed(self) -> dict[str, PartRef]:
        """What the record says of those parts that the views need."""
        payload = self.record.payload
        return {name: payload[name] for name in PARTS_OF[self.record.type] if name in payload}

    @property
    def viewed_bytes(self) -> int:
        """How much those parts are, as they were given."""
        return sum(part.size for part in self.viewed.values())


_RECORDS = msgspec.json.Decoder(_Record)


def see(entry: StoredEntry | SealedEntry) -> Seen:
    """Look into an entry as it is stored."""
    try:
        received_at, raw = look_into(entry.leaf)
        record = _RECORDS.decode(raw)
        find_type(record.type)
        return Seen(entry.index, entry.leaf_hash, parse_time(received_at), record)
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError, MalformedError) as error:
        raise IntegrityError(f"entry {entry.index}: {error}", index=entry.index) from None


def see_appended(each: Admitted, index: int, leaf_hash: bytes, received_at: int) -> Seen:
    """Keep of a record that was just appended what the views need."""
    payload = {n: each.payload[n] for n in PARTS_OF[each.kind.name] if n in each.payload}
    return Seen(index, leaf_hash, received_at, each.signed.record, payload)


def decode_viewed(seen: Seen, parts: Mapping[str, Part]) -> Payload:
    """Decode those parts that the views need, of those that are given."""
    kind = find_type(seen.record.type)
    wanted = (name for name in PARTS_OF[kind.name] if name in parts)
    return {name: decode_part(kind, name, JSON, parts[name].data) for name in wanted}


def view_row(entry: StoredEntry, parts: Mapping[str, Part], constitution: Constitution) -> ViewRow:
    """Compute what the views say of an entry, given the parts that its type's columns need."""
    seen = see(entry)
    return RowMaker(constitution).make(seen, decode_viewed(seen, parts))


class RowMaker:
    """Makes rows by a constitution that is of the entries' indexes, or of a later one."""

    def __init__(self, constitution: Constitution) -> None:
        self._constitution = constitution
        self._circles: dict[tuple[Any, ...], tuple[Circle, Circle]] = {}

    def make(self, seen: Seen, payload: Payload) -> ViewRow:
        """Compute what the views say of an entry. Parts that are gone, erased or lost, have no
        columns: the entry itself stays listed."""
        record = seen.record
        kind = find_type(record.type)
        is_whole = len(payload) == len(PARTS_OF[kind.name])
        known = payload if is_whole else {}
        circle, columns_circle = self._circles_of(seen, tuple(payload))
        registered = register_of(kind, known, record.refs)
        subjects = kind.subjects(payload) if is_whole else ()
        refs = [ids.parse_digest(ref.to) for ref in record.refs]
        return ViewRow(
            index=seen.index,
            type=record.type,
            author=record.author,
            received_at=seen.received_at,
            leaf_hash=seen.leaf_hash,
            stream=record.stream or None,
            refs=refs,
            columns=kind.row(payload) if is_whole else {},
            circle=circle,
            columns_circle=columns_circle,
            subjects=[*filter(_is_findable, subjects)],
            change=registered.kind if registered else None,
            targets=registered.targets if registered else (),
            call=_call(seen, known, refs) if kind.name in TYPES else None,
        )

    def _circles_of(self, seen: Seen, parts: tuple[str, ...]) -> tuple[Circle, Circle]:
        """Return who sees the entry, and who sees these parts of it as well."""
        record, constitution = seen.record, self._constitution
        subject = Subject(seen.index, record.type, record.author, record.parties)
        if record.type in constitution.audiences:  # At some index it changed who that is.
            return entry_circle(constitution, subject), payload_circle(constitution, subject, parts)
        key = (record.type, record.author, record.parties, parts)
        circles = self._circles.get(key)
        if circles is None:
            circles = self._circles[key] = (
                entry_circle(constitution, subject),
                payload_circle(constitution, subject, parts),
            )
        return circles


def _call(seen: Seen, payload: Payload, refs: Sequence[bytes]) -> CallPart | None:
    record = seen.record
    answers = [to for ref, to in zip(record.refs, refs, strict=True) if ref.rel == "answers"]
    return call_part(record.type, payload, seen.received_at, answers[0] if answers else None)


def _is_findable(subject: str) -> bool:
    return 0 < len(subject) <= limits.SUBJECT_CHARS and subject.isprintable()
