"""``rollback/1``: lets entries stand again as they stood at an earlier index.

It moves which version counts, and nothing else: what is redacted stays so, what is erased is
gone. A rollback is undone by another one, to its own index.
"""

import msgspec

from ledger_core.formats.record import Count, Record
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.targets import Entries, check_entries


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``targets``: leaf hashes of original entries. ``to``: by what took effect before it."""

    targets: Entries
    to: Count


def _rule(record: Record, payload: Payload) -> None:
    rollback: Rollback = payload["body"]
    check_entries(rollback.targets)


ROLLBACK_1 = RecordType(
    name="rollback/1",
    summary="Lets entries stand again as they stood at an earlier index.",
    parts={"body": PartType(Rollback)},
    writers=frozenset({"operator", "steward", "agent"}),
    is_governance=True,
    rule=_rule,
)
