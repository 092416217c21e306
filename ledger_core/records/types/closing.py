"""``closing/1``: the last entry of a local ledger. Nothing is appended after it takes effect."""

from typing import Annotated

import msgspec

from ledger_core.records.model import NO_NUL, PartType, RecordType


class Closing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    reason: Annotated[str, msgspec.Meta(max_length=200, pattern=NO_NUL)] = ""


CLOSING_1 = RecordType(
    name="closing/1",
    summary="Closes a local ledger: its transaction is final.",
    parts={"body": PartType(Closing)},
    writers=frozenset({"operator", "steward", "agent"}),
    is_governance=True,
    is_constitutional=True,
)
