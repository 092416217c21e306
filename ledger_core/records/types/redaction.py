"""``redaction/1``: hides parts from all but some roles, or shows them again.

Reversible: the bytes stay. What must be gone takes an ``erasure/1``.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger_core.errors import PayloadError
from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.rules import RoleName
from ledger_core.records.targets import PartsOfEntries, check_parts_of_entries


class Redact(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="action",
    tag="redact",
    omit_defaults=True,
):
    """``visible_to``: roles of members that go on seeing these parts, as the operator does."""

    targets: PartsOfEntries
    visible_to: Annotated[tuple[RoleName, ...], msgspec.Meta(max_length=16)] = ()


class Unredact(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="unredact"
):
    targets: PartsOfEntries


def _rule(record: Record, payload: Payload) -> None:
    redaction: Redact | Unredact = payload["body"]
    check_parts_of_entries(redaction.targets)
    if isinstance(redaction, Redact) and len(set(redaction.visible_to)) != len(
        redaction.visible_to
    ):
        raise PayloadError("a role is named twice")


REDACTION_1 = RecordType(
    name="redaction/1",
    summary="Hides parts of entries from all but some roles, or shows them again.",
    parts={"body": PartType(Redact | Unredact)},
    writers=frozenset({"operator", "steward", "agent"}),
    is_governance=True,
    rule=_rule,
)
