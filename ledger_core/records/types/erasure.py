"""``erasure/1``: the order to destroy parts of entries, for good.

From where it takes effect the parts count as erased; the service then destroys their keys,
deletes what is left of them, and says so in an ``erasure.done/1``. Record, signature and
every proof stay.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.targets import PartsOfEntries, check_parts_of_entries


class Erasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    targets: PartsOfEntries
    reason: Literal["request", "subject", "legal", "mistake", "other"]


def _rule(record: Record, payload: Payload) -> None:
    erasure: Erasure = payload["body"]
    check_parts_of_entries(erasure.targets)


ERASURE_1 = RecordType(
    name="erasure/1",
    summary="Orders parts of entries to be destroyed.",
    parts={"body": PartType(Erasure)},
    writers=frozenset({"operator", "steward", "agent"}),
    is_governance=True,
    rule=_rule,
)
