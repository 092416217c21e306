"""``policy/1``: sets a policy for some record types, or lifts the one they have.

Whom it takes to change a policy is said by the policy in force, never by the new one.
"""

from typing import Annotated

import msgspec

from ledger_core import limits
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.rules import Policy, Topic, check_policy, check_topic


class SetPolicy(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="set"
):
    policy: Policy


class LiftPolicy(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="lift"
):
    """These types take effect at once from here on."""

    governs: Annotated[
        tuple[Topic, ...], msgspec.Meta(min_length=1, max_length=limits.PAYLOAD_PARTS)
    ]


def _rule(record: Record, payload: Payload) -> None:
    change: SetPolicy | LiftPolicy = payload["body"]
    if isinstance(change, SetPolicy):
        check_policy(change.policy)
        return
    if len(set(change.governs)) != len(change.governs):
        raise PayloadError("a type is named twice")
    try:
        for name in change.governs:
            check_topic(name)
    except MalformedError as error:
        raise PayloadError(f"policy: {error}") from None


POLICY_1 = RecordType(
    name="policy/1",
    summary="Sets who must agree before records of some types take effect, or lifts it.",
    parts={"body": PartType(SetPolicy | LiftPolicy)},
    writers=frozenset({"operator", "steward"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
    rule=_rule,
)
