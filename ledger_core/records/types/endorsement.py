"""``endorsement/1``: a member's signed agreement to a proposal, or its refusal.

It signs all that it is about: the proposal's leaf hash, the policy under which it is to be
counted, the decision and the time the proposal ends. None of it can be moved elsewhere.
"""

from typing import Literal

import msgspec

from ledger_core import clock, ids
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.rules import RoleName

Decision = Literal["approve", "reject"]


class Endorsement(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    proposal: str
    """Leaf hash, ``sha256:…``; if the record refers to an entry as ``endorses``, it is this."""
    policy: str
    """Hash of the policy, or of the bundle's policies."""
    decision: Decision
    ends_at: str
    role: RoleName | None = None
    """As whom the endorser speaks, for those who read it; what counts is what it holds."""


def _rule(record: Record, payload: Payload) -> None:
    endorsement: Endorsement = payload["body"]
    try:
        ids.parse_digest(endorsement.proposal)
        ids.parse_digest(endorsement.policy)
        clock.parse_time(endorsement.ends_at)
    except MalformedError as error:
        raise PayloadError(f"endorsement: {error}") from None
    if any(ref.rel == "endorses" and ref.to != endorsement.proposal for ref in record.refs):
        raise PayloadError("an endorsement endorses its own proposal and nothing else")


ENDORSEMENT_1 = RecordType(
    name="endorsement/1",
    summary="Agrees to a proposal, or rejects it.",
    parts={"body": PartType(Endorsement)},
    writers=frozenset({"operator", "steward", "agent"}),
    is_governance=True,
    rule=_rule,
)
