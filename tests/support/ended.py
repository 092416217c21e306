"""Calls of language models as the log has them, for tests of what reports on them."""

from __future__ import annotations

from typing import Any

from api.feed import Ended
from ledger_core.llm.model import Answered, Asked, Choice, ToolCall
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_refused import LlmRefused

BEGAN = "2026-08-01T10:11:12.345Z"
BEGAN_MS = 1_785_579_072_345


def make_call(**fields: Any) -> LlmCall2:
    """Return a call that ended well; what is given stands in place of the rest."""
    usual: dict[str, Any] = {
        "action_id": "act-1",
        "timestamp": BEGAN,
        "provider": "openai",
        "wire": "openai.chat",
        "path": "/v1/chat/completions",
        "model_id": "gpt-5",
        "session_id": "s-1",
        "agent_name": "planner",
        "status_code": 200,
        "latency_ms": 1500,
        "tokens_in": 120,
        "tokens_out": 30,
        "tokens_cached": 100,
        "tokens_reasoning": 8,
        "cost_microusd": 1250,
        "cost_basis": "provider",
        "price_source": "genai-prices@0.2.3",
        "stop_reason": "stop",
        "response_id": "chatcmpl-1",
        "response_model": "gpt-5-2026-08-01",
        "choices": 1,
    }
    return LlmCall2(**(usual | fields))


def make_refusal(**fields: Any) -> LlmRefused:
    """Return a call that a budget refused."""
    usual: dict[str, Any] = {
        "action_id": "act-9",
        "timestamp": BEGAN,
        "provider": "openai",
        "wire": "openai.chat",
        "model_id": "gpt-5",
        "session_id": "s-1",
        "agent_name": "planner",
        "reason": "budget_exceeded",
        "message": "The session's budget is used up.",
        "status_code": 429,
        "limit": 1_000_000,
        "used": 1_000_100,
        "scope": "session",
    }
    return LlmRefused(**(usual | fields))


def make_ended(index: int = 7, **fields: Any) -> Ended:
    return Ended(make_call(**fields), index, server=("api.openai.com", 443))


def with_content(ended: Ended) -> Ended:
    """Return the call with what was said in it."""
    asked = Asked(
        model="gpt-5",
        messages=[
            {"role": "user", "content": "What is the weather in Paris? My card is 4111."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "rainy"},
        ],
        system_prompt="You are kind.",
        tools=[{"type": "function", "function": {"name": "get_weather", "parameters": {}}}],
        n=2,
    )
    choices = (
        Choice(index=0, content="It rains.", stop_reason="stop", reasoning="Look it up."),
        Choice(
            index=1,
            stop_reason="tool_calls",
            tool_calls=(ToolCall(id="call_2", name="get_weather", arguments='{"city":"Lyon"}'),),
        ),
    )
    answered = Answered(choices=choices, system_fingerprint="fp_1")
    return Ended(ended.call, ended.index, asked, answered, 500, ended.server)
