"""``llm.call/1``: one call of a language model.

Part ``call`` holds what is searched and summed; parts ``request`` and ``response`` hold the
exchange as it went over the wire, byte for byte. Field names are those that tools of this
kind already use. Money is integer micro-USD.
"""

from typing import Annotated, Any, Literal

import msgspec

from ledger_core.formats.record import Count
from ledger_core.records.model import NO_NUL, ColumnKind, PartType, Payload, RecordType

Name = Annotated[str, msgspec.Meta(max_length=500, pattern=NO_NUL)]
Status = Annotated[int, msgspec.Meta(ge=0, le=999)]


class LlmCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``timestamp`` is when the call began; an absent field is unknown, never zero."""

    action_id: Name
    timestamp: Name
    provider: Name
    model_id: Name | None = None
    session_id: Name | None = None
    messages: Any = None
    system_prompt: Any = None
    tools: Any = None
    tool_calls: Any = None
    tool_results: Any = None
    content: Any = None
    stop_reason: Name | None = None
    tokens_in: Count | None = None
    tokens_out: Count | None = None
    tokens_cached: Count | None = None
    tokens_cache_write: Count | None = None
    tokens_reasoning: Count | None = None
    tokens_audio: Count | None = None
    cost_microusd: Count | None = None
    cost_basis: Literal["provider", "estimated", "unknown"] = "unknown"
    price_source: Name | None = None
    latency_ms: Count | None = None
    first_token_ms: Count | None = None
    status_code: Status | None = None
    error_detail: Any = None
    agent_name: Name | None = None
    user_id: Name | None = None
    app_id: Name | None = None
    environment: Name = "development"
    parent_action_id: Name | None = None
    handoff_from: Name | None = None
    handoff_to: Name | None = None
    temperature: float | None = None
    max_tokens: Count | None = None
    response_id: Name | None = None
    request_id: Name | None = None
    service_tier: Name | None = None
    method: Name | None = None
    path: Annotated[str, msgspec.Meta(max_length=8000)] | None = None
    tags: dict[str, str] = {}


_COLUMNS: dict[str, ColumnKind] = {
    "action_id": "text",
    "session_id": "text",
    "provider": "text",
    "model_id": "text",
    "agent_name": "text",
    "status_code": "integer",
    "tokens_in": "integer",
    "tokens_out": "integer",
    "cost_microusd": "integer",
}


def _row(payload: Payload) -> dict[str, str | int | None]:
    call: LlmCall = payload["call"]
    return {name: getattr(call, name) for name in _COLUMNS}


def _subjects(payload: Payload) -> tuple[str, ...]:
    call: LlmCall = payload["call"]
    named = (("user", call.user_id), ("session", call.session_id))
    return tuple(f"{kind}:{name}" for kind, name in named if name)


LLM_CALL_1 = RecordType(
    name="llm.call/1",
    summary="One call of a language model: what was asked and answered, tokens and cost.",
    parts={
        "call": PartType(LlmCall),
        "request": PartType(bytes, required=False),
        "response": PartType(bytes, required=False),
    },
    writers=frozenset({"agent", "operator"}),
    columns=_COLUMNS,
    row=_row,
    subjects=_subjects,
)
