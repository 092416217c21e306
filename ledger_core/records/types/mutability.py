"""``mutability/1``: who may change what holds of entries of a type, and how long they are kept.

A change is judged by the setting in force where it is appended, not where its target lies: a
duty to erase reaches old entries too. ``for_ever`` shuts that door for good.
"""

import msgspec

from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.rules import MutabilitySetting, check_mutability


class MutabilityChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    setting: MutabilitySetting


def _rule(record: Record, payload: Payload) -> None:
    change: MutabilityChange = payload["body"]
    check_mutability(change.setting)


MUTABILITY_1 = RecordType(
    name="mutability/1",
    summary="Sets who may change what holds of entries of a type, and how long they are kept.",
    parts={"body": PartType(MutabilityChange)},
    writers=frozenset({"operator", "steward"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
    rule=_rule,
)
