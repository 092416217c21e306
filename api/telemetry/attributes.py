"""What a span says of a call: the GenAI conventions' names, our own, and older ones on request.

Content stands in none of these; content.py has it, for those who ask.

Source: https://github.com/open-telemetry/semantic-conventions-genai
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from api.feed import Ended
from ledger_core.records.calls import Identity
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_refused import LlmRefused

Value = str | bool | int | float | Sequence[str]
Attributes = dict[str, Value]

_OPERATIONS = {
    "openai.chat": "chat",
    "openai.responses": "chat",
    "openai.embeddings": "embeddings",
    "anthropic.messages": "chat",
    "anthropic.count_tokens": "count_tokens",
}
_OPENAI_APIS = {"openai.chat": "chat_completions", "openai.responses": "responses"}
_PROVIDERS = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "moonshot": "moonshot_ai",
    "moonshotai": "moonshot_ai",
    "vertex": "gcp.vertex_ai",
    "x-ai": "x_ai",
    "xai": "x_ai",
}
_MICROUSD = 1_000_000


def operation_of(call: Identity) -> str:
    """Return ``gen_ai.operation.name``; few values, whatever paths are called."""
    if call.wire == "other" and (call.path or "").endswith("/completions"):
        return "text_completion"
    return _OPERATIONS.get(call.wire, "other")


def name_of(call: Identity) -> str:
    """Return the span's name: ``{operation} {model}``."""
    operation = operation_of(call)
    return f"{operation} {call.model_id}" if call.model_id else operation


def provider_of(call: Identity) -> str:
    """Return ``gen_ai.provider.name``, as the conventions spell those that they know."""
    name = call.provider.lower()
    return _PROVIDERS.get(name, name)


def error_of(call: LlmCall2 | LlmRefused) -> str | None:
    """Return ``error.type``, or None if the call ended well. A client may leave when it likes."""
    if isinstance(call, LlmRefused):
        return call.reason
    if call.ended in ("upstream_failed", "timed_out"):
        return "timeout" if call.ended == "timed_out" else call.error_type or call.ended
    if call.error_type:
        return call.error_type
    return str(call.status_code) if (call.status_code or 0) >= 400 else None


def describe(ended: Ended, ledger: str, *, legacy: bool) -> Attributes:
    """Return a span's attributes; what is not known has none."""
    call = ended.call
    found: dict[str, Value | None] = {
        "gen_ai.operation.name": operation_of(call),
        "gen_ai.provider.name": provider_of(call),
        "gen_ai.request.model": call.model_id,
        "gen_ai.request.stream": call.stream or None,
        "gen_ai.request.temperature": call.temperature,
        "gen_ai.request.max_tokens": call.max_tokens,
        "gen_ai.conversation.id": call.session_id,
        "gen_ai.agent.name": call.agent_name,
        "error.type": error_of(call),
        "http.response.status_code": call.status_code,
        "openai.api.type": _OPENAI_APIS.get(call.wire),
    }
    if ended.server is not None:
        found["server.address"], found["server.port"] = ended.server
    found |= _own(call, ended.index, ledger)
    found |= _of_end(call) if isinstance(call, LlmCall2) else _of_refusal(call)
    found |= _of_exchange(ended)
    if legacy:
        found |= _legacy(call)
    return {name: value for name, value in found.items() if value is not None}


def _of_end(call: LlmCall2) -> Mapping[str, Value | None]:
    first_s = None if call.first_token_ms is None else call.first_token_ms / 1000
    return {
        "gen_ai.response.id": call.response_id,
        "gen_ai.response.model": call.response_model,
        "gen_ai.response.finish_reasons": [call.stop_reason] if call.stop_reason else None,
        "gen_ai.response.time_to_first_chunk": first_s if call.stream else None,
        "gen_ai.usage.input_tokens": call.tokens_in,
        "gen_ai.usage.output_tokens": call.tokens_out,
        "gen_ai.usage.cache_read.input_tokens": call.tokens_cached,
        "gen_ai.usage.cache_creation.input_tokens": call.tokens_cache_write,
        "gen_ai.usage.reasoning.output_tokens": call.tokens_reasoning,
        "openai.response.service_tier": call.service_tier if _is_openai(call) else None,
        "ledgergrid.ended": call.ended,
        "ledgergrid.cost_usd": _dollars(call.cost_microusd),
        "ledgergrid.cost_basis": call.cost_basis,
        "ledgergrid.price_source": call.price_source,
        "ledgergrid.request_id": call.request_id,
        "ledgergrid.tool_names": list(call.tool_names) or None,
    }


def _of_refusal(call: LlmRefused) -> Mapping[str, Value | None]:
    return {
        "ledgergrid.ended": "refused",
        "ledgergrid.refusal.reason": call.reason,
        "ledgergrid.refusal.scope": call.scope,
        "ledgergrid.refusal.limit": call.limit,
        "ledgergrid.refusal.used": call.used,
    }


def _own(call: Identity, index: int, ledger: str) -> Mapping[str, Value | None]:
    named: dict[str, Value | None] = {
        "ledgergrid.action_id": call.action_id,
        "ledgergrid.ledger": ledger,
        "ledgergrid.entry": index,
        "ledgergrid.environment": call.environment,
        "ledgergrid.user_id": call.user_id,
        "ledgergrid.app_id": call.app_id,
        "ledgergrid.credential": call.credential,
        "ledgergrid.parent_action_id": call.parent_action_id,
        "ledgergrid.handoff_from": call.handoff_from,
        "ledgergrid.handoff_to": call.handoff_to,
    }
    return named | {f"ledgergrid.tag.{name}": value for name, value in call.tags.items()}


def _of_exchange(ended: Ended) -> Mapping[str, Value | None]:
    """Return what only request and answer tell, beside their words."""
    found: dict[str, Value | None] = {}
    if ended.asked is not None and ended.asked.n != 1:
        found["gen_ai.request.choice.count"] = ended.asked.n
    if ended.answered is not None:
        reasons = [each.stop_reason for each in ended.answered.choices if each.stop_reason]
        if reasons:
            found["gen_ai.response.finish_reasons"] = reasons
        if _is_openai(ended.call):
            fingerprint = ended.answered.system_fingerprint
            found["openai.response.system_fingerprint"] = fingerprint
    return found


def _legacy(call: LlmCall2 | LlmRefused) -> Mapping[str, Value | None]:
    """Return the names of before: those of the conventions until 1.36, and of agentledger."""
    named: dict[str, Value | None] = {
        "gen_ai.system": call.provider,
        "http.status_code": call.status_code,
    }
    facts: dict[str, Value | None] = {
        "action_id": call.action_id,
        "session_id": call.session_id,
        "agent_name": call.agent_name,
        "user_id": call.user_id,
        "environment": call.environment,
        "handoff_from": call.handoff_from,
        "handoff_to": call.handoff_to,
    }
    if isinstance(call, LlmCall2):
        facts |= {"latency_ms": call.latency_ms, "cost_usd": _dollars(call.cost_microusd)}
    return named | {f"agentledger.{name}": value for name, value in facts.items()}


def _is_openai(call: Identity) -> bool:
    return provider_of(call) == "openai"


def _dollars(microusd: int | None) -> float | None:
    return None if microusd is None else microusd / _MICROUSD
