"""``hold/1``: keeps entries from being erased while a case is open, or releases them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.targets import Entries, check_entries

CaseName = Annotated[
    str, msgspec.Meta(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$(?!\n)")
]


class Hold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry is held as long as any case holds it. ``case`` is public: no personal data."""

    action: Literal["hold", "release"]
    targets: Entries
    case: CaseName


def _rule(record: Record, payload: Payload) -> None:
    hold: Hold = payload["body"]
    check_entries(hold.targets)


HOLD_1 = RecordType(
    name="hold/1",
    summary="Keeps entries from being erased, or releases them.",
    parts={"body": PartType(Hold)},
    writers=frozenset({"operator", "steward", "agent"}),
    is_governance=True,
    rule=_rule,
)
