"""An entry as JSON, for whoever may see it.

Lists and streams show the record, which is what was signed, and what holds of it; a single entry
also shows its leaf and its payload, so that its hash can be recomputed from the answer alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel, Field

from api.sight import PartStatus, Sight, Status
from ledger_core import clock, ids
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import PartRef, parse_record
from ledger_core.policy.states import State, Word
from ledger_core.storage.store import StoredEntry

_AT_ONCE = 100
"""Entries read in one go: each is at most 64 KiB without its payload."""


class PartInfo(BaseModel):
    """How a payload part stands. `withheld`: not for this reader; `missing`: gone unordered."""

    status: Status
    by: int | None = Field(
        default=None, description="entry that redacted it, or ordered it to be erased"
    )


class PartBody(PartInfo):
    """A payload part, with its bytes if it is `present`."""

    media_type: str
    size: int
    data: str | None = Field(default=None, description="base64")
    salt: str | None = Field(default=None, description="base64")


class EntrySummary(BaseModel):
    """An entry without its payload."""

    index: int
    leaf_hash: str
    received_at: str
    record: dict[str, Any] = Field(description="the signed record, see docs/spec/record.md")
    state: Word = Field(description="whether this is the version that counts, and why not")
    version: int | None = Field(
        description="entry that counts in its place, if one does that this reader sees"
    )
    parts: Mapping[str, PartInfo]
    held_by: list[str] = Field(description="cases that keep it from being erased")


class EntryDetail(EntrySummary):
    """An entry with all that is left of it."""

    leaf: str = Field(description="base64 of the entry's bytes; leaf_hash is their hash")
    parts: Mapping[str, PartBody]


def summarise(
    sight: Sight, entries: Sequence[StoredEntry], at: int | None = None
) -> list[EntrySummary]:
    """Summarise entries that the reader sees; blocking.

    Versions are told as of ``at``, if it is given; parts always as they stand now.
    """
    now = sight.ledger.states.of(entries)
    states = now if at is None else sight.ledger.states.of(entries, at)
    parts = sight.parts(entries, now)
    named = {state.version for state in states.values() if _is_replaced(state)}
    named |= {part.by for each in parts.values() for part in each.values()}
    places = sight.find({each for each in named if each is not None})
    return [
        EntrySummary(
            **_facts(entry, states[entry.index], places),
            parts={
                name: PartInfo(status=part.status, by=place_of(part, places))
                for name, part in parts[entry.index].items()
            },
        )
        for entry in entries
    ]


def _is_replaced(state: State) -> bool:
    return state.version is not None and state.version != state.leaf_hash


def _facts(entry: StoredEntry, state: State, places: Mapping[bytes, int]) -> dict[str, Any]:
    parsed = parse_entry(entry.leaf)
    return {
        "index": entry.index,
        "leaf_hash": ids.format_digest(entry.leaf_hash),
        "received_at": clock.format_time(parsed.header.received_at),
        "record": msgspec.json.decode(parsed.record),
        "state": state.word,
        "version": places.get(state.version or b"") if _is_replaced(state) else None,
        "held_by": sorted(state.cases),
    }


def place_of(part: PartStatus, places: Mapping[bytes, int]) -> int | None:
    """Return the index of the entry that redacted or erased a part."""
    return part.at if part.by is None else places.get(part.by)


def show(sight: Sight, index: int) -> EntryDetail:
    """Show an entry with the payload parts that its reader may see."""
    return show_all(sight, [sight.entry(index)])[0]


def show_all(
    sight: Sight, entries: Sequence[StoredEntry], at: int | None = None
) -> list[EntryDetail]:
    """Show entries that the reader sees, read with their payload, as :func:`summarise` does."""
    return [
        EntryDetail(
            **summary.model_dump(exclude={"parts"}),
            leaf=ids.encode_base64(entry.leaf),
            parts={
                name: _show_part(ref, entry, name, summary.parts[name])
                for name, ref in sorted(
                    parse_record(parse_entry(entry.leaf).record).payload.items()
                )
            },
        )
        for entry, summary in zip(entries, summarise(sight, entries, at), strict=True)
    ]


def _show_part(ref: PartRef, entry: StoredEntry, name: str, info: PartInfo) -> PartBody:
    about = PartBody(**info.model_dump(), media_type=ref.media_type, size=ref.size)
    part = entry.parts.get(name)
    if info.status != "present":
        return about
    if part is None:  # Its key is gone, though its bytes are there.
        return about.model_copy(update={"status": "missing"})
    return about.model_copy(
        update={"data": ids.encode_base64(part.data), "salt": ids.encode_base64(part.salt)}
    )


def read_summaries(sight: Sight, indexes: Sequence[int] | range) -> Iterator[EntrySummary]:
    """Yield those of the named entries that exist for the reader, by index; blocking."""
    for at in range(0, len(indexes), _AT_ONCE):
        yield from summarise(sight, sight.entries(indexes[at : at + _AT_ONCE]))
