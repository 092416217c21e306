"""``agent.action/1``: something an agent did, began or failed to do."""

from typing import Annotated, Any, Literal

import msgspec

from ledger_core.records.model import NO_NUL, PartType, Payload, RecordType

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=NO_NUL)]
Text = Annotated[str, msgspec.Meta(max_length=100_000)]


class AgentAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    action: Name
    status: Literal["started", "succeeded", "failed", "cancelled"]
    session_id: Name | None = None
    agent_name: Name | None = None
    tool: Name | None = None
    input: Any = None
    output: Any = None
    error: Text | None = None
    started_at: Name | None = None
    ended_at: Name | None = None


def _row(payload: Payload) -> dict[str, str | int | None]:
    action: AgentAction = payload["body"]
    return {
        "action": action.action,
        "status": action.status,
        "session_id": action.session_id,
        "tool": action.tool,
    }


def _subjects(payload: Payload) -> tuple[str, ...]:
    action: AgentAction = payload["body"]
    return (f"session:{action.session_id}",) if action.session_id else ()


AGENT_ACTION_1 = RecordType(
    name="agent.action/1",
    summary="Something an agent did, with input, output and outcome.",
    parts={"body": PartType(AgentAction)},
    writers=frozenset({"agent", "operator"}),
    columns={"action": "text", "status": "text", "session_id": "text", "tool": "text"},
    row=_row,
    subjects=_subjects,
)
