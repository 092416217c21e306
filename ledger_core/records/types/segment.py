"""``segment/1``: many short-lived items sealed as one entry.

The items go, by schedule or order, as part ``items``; the root in ``body`` stays, and so does
whatever proof somebody took of one item.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger_core import clock, ids, limits
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Record
from ledger_core.formats.segment import parse_items, root_of
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.rules import LeafHash

Kind = Annotated[
    str, msgspec.Meta(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$(?!\n)")
]


class Segment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``kind``: what the items are, for people and views; ``from`` and ``to``: their time."""

    root: LeafHash
    count: Annotated[int, msgspec.Meta(ge=1, le=limits.SEGMENT_ITEMS)]
    kind: Kind
    from_: str = msgspec.field(name="from")
    to: str


def _rule(record: Record, payload: Payload) -> None:
    segment: Segment = payload["body"]
    try:
        if clock.parse_time(segment.from_) > clock.parse_time(segment.to):
            raise PayloadError("a segment ends before it begins")
        sealed_root, items = ids.parse_digest(segment.root), parse_items(payload["items"])
    except MalformedError as error:
        raise PayloadError(f"segment: {error}") from None
    if len(items) != segment.count:
        raise PayloadError(f"the segment says {segment.count} items, and holds {len(items)}")
    if root_of(items) != sealed_root:
        raise PayloadError("the items do not have the root that the segment names")


def _row(payload: Payload) -> dict[str, str | int | None]:
    segment: Segment = payload["body"]
    return {"kind": segment.kind, "count": segment.count}


SEGMENT_1 = RecordType(
    name="segment/1",
    summary="Many short-lived items sealed under one root.",
    parts={"body": PartType(Segment), "items": PartType(bytes)},
    writers=frozenset({"agent", "operator"}),
    rule=_rule,
    columns={"kind": "text", "count": "integer"},
    row=_row,
)
