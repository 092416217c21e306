"""``audience/1``: who sees entries of a type and the parts of their payload, from here on.

Entries keep the audience that stood at their index: nobody widens it behind an author's back.
"""

import msgspec

from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.rules import AudienceSetting, check_audience


class AudienceChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    setting: AudienceSetting


def _rule(record: Record, payload: Payload) -> None:
    change: AudienceChange = payload["body"]
    check_audience(change.setting)


AUDIENCE_1 = RecordType(
    name="audience/1",
    summary="Sets who sees entries of a type and the parts of their payload.",
    parts={"body": PartType(AudienceChange)},
    writers=frozenset({"operator", "steward"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
    rule=_rule,
)
