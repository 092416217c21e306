"""``anchor/1``: the root of another ledger, made an entry of this one.

With the entry's receipt, a receipt of the other ledger at ``size`` and this record's payload,
a proof leads from the other ledger's entry to a checkpoint of this one.
"""

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Count, Record
from ledger_core.records.model import PartType, Payload, RecordType


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which ledger, by origin and charter (leaf hash of its entry 0), at which size and root."""

    origin: str
    charter: str
    size: Count
    root: str


def _rule(record: Record, payload: Payload) -> None:
    anchor: Anchor = payload["body"]
    try:
        ids.check_origin(anchor.origin)
        ids.parse_digest(anchor.charter)
        ids.parse_digest(anchor.root)
    except MalformedError as error:
        raise PayloadError(f"anchor: {error}") from None
    if anchor.origin == record.ledger or not anchor.size:
        raise PayloadError("an anchor is of another ledger, which has entries")


ANCHOR_1 = RecordType(
    name="anchor/1",
    summary="The root of another ledger, anchored in this one.",
    parts={"body": PartType(Anchor)},
    writers=frozenset({"operator"}),
    rule=_rule,
)
