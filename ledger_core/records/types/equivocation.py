"""``equivocation/1``: one voter said two things of one proposal, or one stream told two tales.

Evidence by leaf hash: whoever has both entries checks it alone.
"""

from typing import Literal

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType


class Equivocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["endorsement", "stream"]
    first: str
    second: str


def _rule(record: Record, payload: Payload) -> None:
    found: Equivocation = payload["body"]
    try:
        ids.parse_digest(found.first)
        ids.parse_digest(found.second)
    except MalformedError as error:
        raise PayloadError(f"equivocation: {error}") from None
    if found.first == found.second:
        raise PayloadError("an equivocation is between two entries")


EQUIVOCATION_1 = RecordType(
    name="equivocation/1",
    summary="Evidence: two entries of one author or member that contradict each other.",
    parts={"body": PartType(Equivocation)},
    writers=frozenset({"operator"}),
    is_governance=True,
    rule=_rule,
)
