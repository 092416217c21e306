"""``outcome/1``: how a proposal ended. Exactly one a proposal, and only the right one.

Written by the service right behind the entry that decides it; whoever reads the log computes
the same. Any other outcome is refused, and found by the verifier.
"""

from typing import Literal

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType

Verdict = Literal["confirmed", "rejected", "withdrawn", "expired"]
Reason = Literal["quorum", "veto", "out-of-reach", "inapplicable", "withdrawal", "time"]


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    proposal: str
    """Leaf hash, ``sha256:…``, of the proposal or the bundle."""
    policy: str
    verdict: Verdict
    reason: Reason


def _rule(record: Record, payload: Payload) -> None:
    outcome: Outcome = payload["body"]
    try:
        ids.parse_digest(outcome.proposal)
        ids.parse_digest(outcome.policy)
    except MalformedError as error:
        raise PayloadError(f"outcome: {error}") from None


OUTCOME_1 = RecordType(
    name="outcome/1",
    summary="How a proposal ended: confirmed, rejected, withdrawn or expired.",
    parts={"body": PartType(Outcome)},
    writers=frozenset({"operator"}),
    is_governance=True,
    rule=_rule,
)
