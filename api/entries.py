"""An entry as JSON, for whoever may see it.

Lists and streams show the record, which is what was signed; a single entry also shows its
leaf and its payload, so that its hash can be recomputed from the answer alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, Field

from api.sight import Sight
from ledger_core import clock, ids
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import PartRef, parse_record
from ledger_core.storage.store import StoredEntry

_AT_ONCE = 100
"""Entries read in one go: each is at most 64 KiB without its payload."""


class EntrySummary(BaseModel):
    """An entry without its payload."""

    index: int
    leaf_hash: str
    received_at: str
    record: dict[str, Any] = Field(description="the signed record, see docs/spec/record.md")


class PartBody(BaseModel):
    """A payload part. `withheld`: not for this reader. `missing`: erased or lost."""

    status: Literal["present", "withheld", "missing"]
    media_type: str
    size: int
    data: str | None = Field(default=None, description="base64")
    salt: str | None = Field(default=None, description="base64")


class EntryDetail(EntrySummary):
    """An entry with all that is left of it."""

    leaf: str = Field(description="base64 of the entry's bytes; leaf_hash is their hash")
    parts: dict[str, PartBody]


def summarise(entry: StoredEntry) -> EntrySummary:
    parsed = parse_entry(entry.leaf)
    return EntrySummary(
        index=entry.index,
        leaf_hash=ids.format_digest(entry.leaf_hash),
        received_at=clock.format_time(parsed.header.received_at),
        record=msgspec.json.decode(parsed.record),
    )


def show(sight: Sight, index: int) -> EntryDetail:
    """Show an entry with the payload parts that its reader may see."""
    entry = sight.entry(index)
    record = parse_record(parse_entry(entry.leaf).record)
    shown = sight.shown_parts(entry, record.payload)
    return EntryDetail(
        **summarise(entry).model_dump(),
        leaf=ids.encode_base64(entry.leaf),
        parts={
            name: _show_part(ref, entry, name, is_shown=name in shown)
            for name, ref in sorted(record.payload.items())
        },
    )


def _show_part(ref: PartRef, entry: StoredEntry, name: str, *, is_shown: bool) -> PartBody:
    part = entry.parts.get(name)
    if not is_shown:
        return PartBody(status="withheld", media_type=ref.media_type, size=ref.size)
    if part is None:
        return PartBody(status="missing", media_type=ref.media_type, size=ref.size)
    return PartBody(
        status="present",
        media_type=ref.media_type,
        size=ref.size,
        data=ids.encode_base64(part.data),
        salt=ids.encode_base64(part.salt),
    )


def read_summaries(sight: Sight, indexes: Sequence[int] | range) -> Iterator[EntrySummary]:
    """Yield those of the named entries that exist for the reader, by index; blocking."""
    for at in range(0, len(indexes), _AT_ONCE):
        yield from map(summarise, sight.entries(indexes[at : at + _AT_ONCE]))
