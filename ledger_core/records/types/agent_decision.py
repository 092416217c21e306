"""``agent.decision/1``: what an agent decided, among which options, and why."""

from typing import Annotated, Any

import msgspec

from ledger_core.records.model import NO_NUL, PartType, Payload, RecordType

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=NO_NUL)]
Text = Annotated[str, msgspec.Meta(max_length=100_000)]


class AgentDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    decision: Name
    chosen: Text
    options: Annotated[tuple[Text, ...], msgspec.Meta(max_length=1000)] = ()
    reason: Text | None = None
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    inputs: Any = None
    session_id: Name | None = None
    agent_name: Name | None = None


def _row(payload: Payload) -> dict[str, str | int | None]:
    decision: AgentDecision = payload["body"]
    return {"decision": decision.decision, "session_id": decision.session_id}


def _subjects(payload: Payload) -> tuple[str, ...]:
    decision: AgentDecision = payload["body"]
    return (f"session:{decision.session_id}",) if decision.session_id else ()


AGENT_DECISION_1 = RecordType(
    name="agent.decision/1",
    summary="What an agent decided, among which options, and why.",
    parts={"body": PartType(AgentDecision)},
    writers=frozenset({"agent", "operator"}),
    columns={"decision": "text", "session_id": "text"},
    row=_row,
    subjects=_subjects,
)
