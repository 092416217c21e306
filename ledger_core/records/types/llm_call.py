"""``llm.call/1`` and ``llm.call/2``: one call of a language model, once it is over.

Part ``call`` holds what is searched and summed; parts ``request`` and ``response`` hold the
exchange as it went over the wire, byte for byte. Field names are those that tools of this
kind already use. Money is integer micro-USD.

Of version 2 there are two kinds. What a proxy saw is the **end** of a call: it answers its
``llm.start/1``, and the request is there. What an agent recorded itself answers nothing and
holds both. Messages and content stand in neither: they are read out of the bytes.
"""

from typing import Annotated, Any, Literal

import msgspec

from ledger_core.errors import PayloadError
from ledger_core.formats.record import Count, Record
from ledger_core.records.calls import (
    COLUMNS,
    Identity,
    Level,
    Name,
    Sha256,
    Status,
    Text,
    check_identity,
    make_row,
    name_subjects,
)
from ledger_core.records.model import ColumnKind, PartType, Payload, RecordType


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
    return make_row(_COLUMNS, payload["call"])


def _subjects(payload: Payload) -> tuple[str, ...]:
    call: LlmCall | LlmCall2 = payload["call"]
    return name_subjects(call.user_id, call.session_id)


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


# --- version 2 -------------------------------------------------------------------------

Ended = Literal["complete", "client_left", "upstream_failed", "timed_out"]
CostBasis = Literal["provider", "estimated", "unknown"]
"""Whether tokens were counted by the provider or estimated here; unknown: there is no cost."""

ToolNames = Annotated[tuple[Name, ...], msgspec.Meta(max_length=1_000)]


class LlmCall2(Identity, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a call ended. It repeats who asked for what, so that nothing else need be read.

    ``latency_ms`` and ``first_token_ms`` count from ``timestamp``. ``tokens_in`` has those that
    were cached in it, ``tokens_out`` those of reasoning. ``price_source``: name and version of
    the prices, ``price_model`` what the model is called there. ``choices``: how many answers.
    ``tool_names``: tools that were called. ``response_bytes`` and ``response_sha256`` are of the
    whole body as it came. The ``request_`` fields are of a call that has no start.
    """

    ended: Ended = "complete"
    status_code: Status | None = None
    latency_ms: Count | None = None
    first_token_ms: Count | None = None
    tokens_in: Count | None = None
    tokens_out: Count | None = None
    tokens_cached: Count | None = None
    tokens_cache_write: Count | None = None
    tokens_reasoning: Count | None = None
    tokens_audio: Count | None = None
    cost_microusd: Count | None = None
    cost_basis: CostBasis = "unknown"
    price_source: Name | None = None
    price_model: Name | None = None
    stop_reason: Name | None = None
    response_id: Name | None = None
    request_id: Name | None = None
    response_model: Name | None = None
    service_tier: Name | None = None
    error_type: Name | None = None
    error_detail: Text | None = None
    choices: Count = 0
    tool_names: ToolNames = ()
    response_bytes: Count | None = None
    response_sha256: Sha256 | None = None
    response_media_type: Name | None = None
    response_encoding: Name | None = None
    request_bytes: Count | None = None
    request_sha256: Sha256 | None = None
    request_media_type: Name | None = None
    request_encoding: Name | None = None
    level: Level = "full"
    redactions: Count = 0
    parse_error: Text | None = None


_REQUEST = ("request_bytes", "request_sha256", "request_media_type", "request_encoding")


def _rule_2(record: Record, payload: Payload) -> None:
    call: LlmCall2 = payload["call"]
    check_identity(call)
    if (call.cost_microusd is None) != (call.cost_basis == "unknown"):
        raise PayloadError("a cost has a basis, and what has none is unknown")
    if call.level == "metadata" and payload.keys() != {"call"}:
        raise PayloadError("a call of level `metadata` holds no request and no response")
    answers = sum(ref.rel == "answers" for ref in record.refs)
    if answers > 1:
        raise PayloadError("a call ends one start")
    has_request = "request" in payload or any(getattr(call, x) is not None for x in _REQUEST)
    if answers and has_request:
        raise PayloadError("the request of a call is with its start")


LLM_CALL_2 = RecordType(
    name="llm.call/2",
    summary="How a call of a language model ended: what was answered, tokens, time and cost.",
    parts={
        "call": PartType(LlmCall2),
        "request": PartType(bytes, required=False),
        "response": PartType(bytes, required=False),
    },
    writers=frozenset({"agent", "operator"}),
    rule=_rule_2,
    columns=COLUMNS,
    row=lambda payload: make_row(COLUMNS, payload["call"]),
    subjects=_subjects,
)
