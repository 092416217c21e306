"""``llm.refused/1``: a call that was asked for and not forwarded. It cost nothing.

What was asked is not in it: a refusal needs no prompt.
"""

from typing import Annotated, Literal

import msgspec

from ledger_core import limits
from ledger_core.formats.record import Count, Record
from ledger_core.records.calls import (
    COLUMNS,
    Identity,
    Name,
    Status,
    Text,
    check_identity,
    make_row,
    name_subjects,
)
from ledger_core.records.model import PartType, Payload, RecordType

Reason = Literal[
    "budget_exceeded",
    "rate_limit_exceeded",
    "model_denied",
    "provider_denied",
    "stopped",
    "unpriced",
    "unauthorised",
    "too_large",
    "ledger_unavailable",
]


class LlmRefused(
    Identity, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """``limit`` and ``used``: micro-USD of a budget, or requests of a rate. ``scope``: whose.

    ``calls``: how many this record stands for. Of a flood of refusals of one kind, the first is
    told in full and the others of its second are counted.
    """

    reason: Reason
    message: Text
    status_code: Status
    limit: Count | None = None
    used: Count | None = None
    scope: Name | None = None
    retry_after_s: Count | None = None
    calls: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_INTEGER)] = 1


def _rule(record: Record, payload: Payload) -> None:
    check_identity(payload["refusal"])


def _subjects(payload: Payload) -> tuple[str, ...]:
    refusal: LlmRefused = payload["refusal"]
    return name_subjects(refusal.user_id, refusal.session_id)


LLM_REFUSED_1 = RecordType(
    name="llm.refused/1",
    summary="A call of a language model that was refused before it was forwarded, and why.",
    parts={"refusal": PartType(LlmRefused)},
    writers=frozenset({"agent", "operator"}),
    rule=_rule,
    columns=COLUMNS,
    row=lambda payload: make_row(COLUMNS, payload["refusal"]),
    subjects=_subjects,
)
