"""What a record type declares. A type is one file in ``types/`` and one registry line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from ledger_core.errors import CommitmentError, PayloadError
from ledger_core.formats.record import Part, Record, check_part

Role = Literal["operator", "steward", "agent"]
"""What a key may do: run the log, speak for its member's keys, act."""
Audience = Literal["public", "members", "operator"]
ColumnKind = Literal["text", "integer"]
Payload = Mapping[str, Any]
"""Decoded payload by part name: a schema's object, any JSON value, or bytes."""

JSON = "application/json"
NO_NUL = "^[^\\x00]*$"
"""Pattern for text that becomes a column: PostgreSQL has no text with U+0000 in it."""


@dataclass(frozen=True)
class PartType:
    """One payload part: a JSON schema (a msgspec type), or ``bytes`` of any media type."""

    schema: Any
    required: bool = True
    decoder: msgspec.json.Decoder[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Made at import: msgspec learns a struct when it first decodes one, and crashes if two
        # threads do so at the same time.
        object.__setattr__(self, "decoder", msgspec.json.Decoder(self.schema))

    @property
    def is_json(self) -> bool:
        return self.schema is not bytes


def no_rule(record: Record, payload: Payload) -> None:
    """Accept whatever the schema accepts."""


def no_columns(payload: Payload) -> Mapping[str, str | int | None]:
    return {}


def no_subjects(payload: Payload) -> tuple[str, ...]:
    return ()


# There is one of each, asked for again and again: compared as what it is, not by what it says.
@dataclass(frozen=True, kw_only=True, eq=False)
class RecordType:
    """A record type and version; a published schema never changes, a new version is a new type."""

    name: str
    summary: str
    parts: Mapping[str, PartType]
    writers: frozenset[Role]
    audience: Audience = "members"
    is_governance: bool = False
    """Needed to judge other entries: never erased, its payload always exported."""
    is_constitutional: bool = False
    """Says who may do what: changes the constitution when it takes effect."""
    rule: Callable[[Record, Payload], None] = no_rule
    """Raises :class:`PayloadError` for what a schema cannot say."""
    columns: Mapping[str, ColumnKind] = field(default_factory=dict)
    """Columns its view adds, to filter entries by."""
    row: Callable[[Payload], Mapping[str, str | int | None]] = no_columns
    subjects: Callable[[Payload], tuple[str, ...]] = no_subjects
    """Whom or what an entry is about, like ``user:42``: found again by whoever sees its payload."""

    @property
    def viewed_parts(self) -> tuple[str, ...]:
        """The parts that columns and subjects are made of."""
        return tuple(name for name, part in self.parts.items() if part.is_json and part.required)

    @property
    def is_viewed(self) -> bool:
        """Say whether there is anything to be found by a payload of this type."""
        return bool(self.columns) or self.subjects is not no_subjects


def decode_payload(kind: RecordType, record: Record, parts: Mapping[str, Part]) -> Payload:
    """Check parts against commitments, schemas and the type's rule; return them decoded.

    Raises :class:`CommitmentError` or :class:`PayloadError`.
    """
    if parts.keys() != record.payload.keys():
        raise CommitmentError("payload parts are not those the record commits to")
    payload: dict[str, Any] = {}
    for name, part in parts.items():
        check_part(name, record.payload[name], part)
        payload[name] = decode_part(kind, name, record.payload[name].media_type, part.data)
    missing = [n for n, p in kind.parts.items() if p.required and n not in payload]
    if missing:
        raise PayloadError(f"{kind.name} needs part {missing[0]!r}")
    kind.rule(record, payload)
    return payload


def decode_part(kind: RecordType, name: str, media_type: str, data: bytes) -> Any:
    """Decode one part by its schema; raise :class:`PayloadError`."""
    part_type = kind.parts.get(name)
    if part_type is None:
        raise PayloadError(f"{kind.name} has no part {name!r}")
    if not part_type.is_json:
        return data
    if media_type != JSON:
        raise PayloadError(f"part {name!r} of {kind.name} is {JSON}, not {media_type}")
    try:
        value = part_type.decoder.decode(data)
        if kind.is_governance:
            json.loads(data, object_pairs_hook=_refuse_repetition)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"part {name!r} of {kind.name}: {error}") from None
    return value


def _refuse_repetition(pairs: list[tuple[str, object]]) -> None:
    """Refuse a JSON object that says a thing twice: who has standing is told in one way only."""
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise PayloadError("a governance payload names a field twice")
