"""OpenAI responses: items, built-in tools, and streams that did or did not end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger_core.llm import wire
from ledger_core.llm.model import Answered, ToolCall


def read(*items: Any, **fields: Any) -> Answered:
    body = {"id": "resp_1", "status": "completed", "output": items, **fields}
    return wire.parse_response("openai.responses", 200, json.dumps(body).encode())


def read_stream(*events: Any) -> Answered:
    body = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)
    return wire.parse_response("openai.responses", 200, body.encode(), "text/event-stream")


def text_part(text: str, *annotations: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": annotations}


def message(*parts: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": parts, **fields}


def test_texts_refusals_annotations_and_reasoning_are_read() -> None:
    answered = read(
        {"type": "reasoning", "summary": [{"text": "first"}], "content": [{"text": "then"}]},
        message(text_part("a", {"type": "url_citation"}), text_part("b")),
        message({"type": "refusal", "refusal": "no"}),
    )
    assert (answered.content, answered.refusal) == ("ab", "no")
    assert answered.reasoning == "first\n\nthen"
    assert answered.citations == ({"type": "url_citation"},)
    assert answered.stop_reason == "completed"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            {"type": "function_call", "call_id": "c", "id": "i", "name": "f", "arguments": "{}"},
            ToolCall(id="c", name="f", arguments="{}"),
        ),
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "SELECT"},
            ToolCall(id="c", name="sql", arguments="SELECT", kind="custom"),
        ),
        (
            {"type": "web_search_call", "id": "w", "status": "completed", "action": {"q": 1}},
            ToolCall(id="w", name="web_search", arguments={"q": 1}, kind="builtin"),
        ),
        (
            {"type": "code_interpreter_call", "id": "w", "code": "1+1", "outputs": [1]},
            ToolCall(id="w", name="code_interpreter", arguments={"code": "1+1"}, kind="builtin"),
        ),
        (
            {"type": "mcp_call", "id": "w", "name": "find", "arguments": "{}", "output": "x"},
            ToolCall(id="w", name="find", arguments="{}", kind="builtin"),
        ),
    ],
)
def test_every_kind_of_tool_call_is_read(item: Any, expected: ToolCall) -> None:
    assert read(item).tool_calls == (expected,)


def test_items_that_call_nothing_are_no_calls() -> None:
    items = [{"type": kind} for kind in ("mcp_list_tools", "tool_search_output", "call", 7, None)]
    assert read(*items).tool_calls == ()


def test_an_incomplete_response_stopped_for_its_reason() -> None:
    answered = read(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert answered.stop_reason == "max_output_tokens"


def test_a_failed_response_tells_its_error() -> None:
    error = {"code": "server_error", "message": "it broke"}
    response = {"id": "r", "status": "failed", "error": error, "output": []}
    for answered in (
        read(status="failed", error=error),
        read_stream({"type": "response.failed", "response": response}),
    ):
        assert (answered.error_type, answered.error_detail) == ("server_error", "it broke")
        assert answered.stop_reason == "failed"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "rate_limit", "message": "slow down", "param": None},
        {"type": "error", "error": {"type": "rate_limit", "message": "slow down"}},
    ],
)
def test_an_error_event_ends_a_stream_and_is_its_error(event: dict[str, Any]) -> None:
    answered = read_stream({"type": "response.created", "response": {"id": "r"}}, event)
    assert (answered.response_id, answered.error_type) == ("r", "rate_limit")
    assert answered.error_detail == "slow down"


BROKEN_OFF: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"id": "r", "model": "m", "output": []}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning"}},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "hm"},
    {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {"type": "reasoning", "summary": [{"text": "hm."}]},
    },
    {"type": "response.output_item.added", "output_index": 1, "item": message()},
    {"type": "response.output_text.delta", "output_index": 1, "delta": "Hel"},
    {"type": "response.output_text.delta", "output_index": 1, "delta": "lo"},
    {
        "type": "response.output_item.added",
        "output_index": 2,
        "item": {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""},
    },
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"a'},
]


def test_of_a_stream_that_broke_off_is_read_what_came() -> None:
    answered = read_stream(*BROKEN_OFF)
    assert (answered.response_id, answered.model) == ("r", "m")
    assert (answered.content, answered.reasoning) == ("Hello", "hm.")
    assert answered.tool_calls == (ToolCall(id="c", name="f", arguments='{"a'),)
    assert (answered.stop_reason, answered.usage) == (None, None)


def test_the_last_event_is_believed_over_all_pieces() -> None:
    response = {
        "id": "r",
        "status": "completed",
        "output": [message(text_part("whole"))],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    answered = read_stream(*BROKEN_OFF, {"type": "response.completed", "response": response})
    assert (answered.content, answered.tool_calls) == ("whole", ())
    assert answered.usage
    assert (answered.usage.tokens_in, answered.usage.tokens_out) == (3, 4)


def test_a_last_event_without_its_output_leaves_the_items_that_came() -> None:
    response = {"id": "r", "status": "completed", "output": []}
    answered = read_stream(*BROKEN_OFF, {"type": "response.completed", "response": response})
    assert (answered.content, answered.stop_reason) == ("Hello", "completed")


def test_a_plain_input_is_one_user_message_and_outputs_are_results() -> None:
    asked = wire.parse_request("openai.responses", b'{"input":"hi","instructions":"be kind"}')
    assert asked.messages == [{"role": "user", "content": "hi"}]
    assert (asked.system_prompt, asked.input_chars) == ("be kind", 9)
    items = [
        {"role": "developer", "content": [{"type": "input_text", "text": "also"}]},
        {"type": "function_call_output", "call_id": "c", "output": "42"},
        {"type": "custom_tool_call_output", "call_id": "d", "output": [{"text": "x"}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:…"}]},
    ]
    body = {"input": items, "instructions": "be kind", "max_output_tokens": 7}
    asked = wire.parse_request("openai.responses", json.dumps(body).encode())
    assert asked.system_prompt == "be kind\nalso"
    assert asked.tool_results == [
        {"tool_call_id": "c", "content": "42"},
        {"tool_call_id": "d", "content": [{"text": "x"}]},
    ]
    assert (asked.max_tokens, asked.media) == (7, ("image",))
