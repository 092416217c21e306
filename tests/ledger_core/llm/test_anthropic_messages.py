"""Anthropic messages: blocks, cache tokens, streams that did or did not end."""

from __future__ import annotations

import json
from typing import Any

from ledger_core.llm import wire
from ledger_core.llm.model import Answered, ToolCall, Usage


def read(*blocks: Any, **fields: Any) -> Answered:
    body = {"id": "msg_1", "type": "message", "content": blocks, "stop_reason": "end_turn"}
    return wire.parse_response("anthropic.messages", 200, json.dumps({**body, **fields}).encode())


def read_stream(*events: Any) -> Answered:
    body = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)
    return wire.parse_response("anthropic.messages", 200, body.encode(), "text/event-stream")


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def test_the_whole_input_is_what_was_read_written_and_neither() -> None:
    usage = read(
        usage={
            "input_tokens": 10,
            "cache_creation_input_tokens": 200,
            "cache_read_input_tokens": 3_000,
            "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 150},
            "output_tokens": 7,
            "server_tool_use": {"web_search_requests": 2},
        }
    ).usage
    assert usage == Usage(
        tokens_in=3_210,
        tokens_out=7,
        tokens_cached=3_000,
        tokens_cache_write=200,
        tokens_cache_write_1h=150,
        web_searches=2,
    )


def test_every_pass_over_the_input_is_part_of_what_was_used() -> None:
    passes = [
        {"input_tokens": 100, "cache_creation_input_tokens": 5_000, "output_tokens": 30},
        {"input_tokens": 20, "output_tokens": 4},
    ]
    usage = read(usage={"input_tokens": 20, "output_tokens": 4, "iterations": passes}).usage
    assert usage
    assert (usage.tokens_in, usage.tokens_out, usage.tokens_cache_write) == (5_120, 34, 5_000)


def test_texts_thoughts_tools_and_citations_are_read() -> None:
    answered = read(
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "redacted_thinking", "data": "x"},
        {**text_block("a"), "citations": [{"type": "page_location"}]},
        text_block("b"),
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
        {"type": "server_tool_use", "id": "t2", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "t2", "content": []},
    )
    assert (answered.content, answered.reasoning) == ("ab", "hm")
    assert answered.citations == ({"type": "page_location"},)
    assert answered.tool_calls == (
        ToolCall(id="t1", name="f", arguments={"a": 1}),
        ToolCall(id="t2", name="web_search", arguments={"query": "q"}, kind="builtin"),
    )


def test_a_refusal_is_told_by_the_stop_reason() -> None:
    answered = read(text_block("I'd rather"), stop_reason="refusal")
    assert (answered.refusal, answered.content) == ("I'd rather", "I'd rather")


START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 9, "cache_read_input_tokens": 100, "output_tokens": 1},
    },
}


def block(index: int, start: Any, *deltas: Any) -> list[Any]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": each} for each in deltas),
    ]


def test_a_stream_s_usage_is_merged_field_by_field() -> None:
    answered = read_stream(
        START,
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 50, "cache_read_input_tokens": None},
        },
        {"type": "message_stop"},
    )
    assert answered.usage == Usage(tokens_in=109, tokens_out=50, tokens_cached=100)
    assert answered.stop_reason == "end_turn"


def test_of_a_stream_that_broke_off_is_read_what_came() -> None:
    answered = read_stream(
        START,
        *block(
            0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "h"}
        ),
        *block(1, text_block(""), {"type": "text_delta", "text": "Hel"}),
        *block(
            2,
            {"type": "tool_use", "id": "t", "name": "f", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"a":'},
        ),
    )
    assert (answered.content, answered.reasoning) == ("Hel", "h")
    assert answered.tool_calls == (ToolCall(id="t", name="f", arguments='{"a":'),)
    assert (answered.stop_reason, answered.model) == (None, "claude")
    assert answered.usage
    assert answered.usage.tokens_in == 109


def test_tool_input_and_citations_are_put_together_from_their_pieces() -> None:
    pieces = [{"type": "input_json_delta", "partial_json": each} for each in ("", '{"a"', ":1}")]
    cited = {"type": "citations_delta", "citation": {"type": "char_location"}}
    answered = read_stream(
        START,
        *block(0, text_block(""), {"type": "text_delta", "text": "a"}, cited),
        *block(1, {"type": "tool_use", "id": "t", "name": "f", "input": {}}, *pieces),
        *block(2, {"type": "tool_use", "id": "u", "name": "g", "input": {}}),
    )
    assert [each.arguments for each in answered.tool_calls] == [{"a": 1}, {}]
    assert answered.citations == ({"type": "char_location"},)


def test_an_error_event_ends_a_stream() -> None:
    told = {"type": "overloaded_error", "message": "Overloaded"}
    answered = read_stream(START, {"type": "error", "error": told})
    assert (answered.error_type, answered.error_detail) == ("overloaded_error", "Overloaded")
    assert answered.response_id == "msg_1"
    body = json.dumps({"type": "error", "error": told}).encode()
    answered = wire.parse_response("anthropic.messages", 529, body)
    assert (answered.error_type, answered.error_detail) == ("overloaded_error", "Overloaded")


def test_pings_and_events_unknown_are_passed_over() -> None:
    answered = read_stream(START, {"type": "ping"}, {"type": "new_kind", "x": 1})
    assert answered.parse_error is None


def test_the_request_s_facts_are_read() -> None:
    body = {
        "model": "claude",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "one"}, {"type": "text", "text": " two"}],
        "metadata": {"user_id": "u"},
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": "42", "is_error": True},
                    {"type": "tool_result", "tool_use_id": "u", "content": [text_block("x")]},
                    {"type": "image", "source": {"type": "base64", "data": "A" * 100_000}},
                ],
            }
        ],
    }
    asked = wire.parse_request("anthropic.messages", json.dumps(body).encode())
    assert (asked.system_prompt, asked.user_id, asked.max_tokens) == ("one two", "u", 5)
    assert asked.tool_results == [
        {"tool_use_id": "t", "content": "42", "is_error": True},
        {"tool_use_id": "u", "content": [text_block("x")]},
    ]
    assert asked.media == ("image",)
    assert asked.input_chars == len("one two" + "42" + "x")


def test_a_count_of_tokens_is_told_apart_from_tokens_used() -> None:
    answered = wire.parse_response("anthropic.count_tokens", 200, b'{"input_tokens":19}')
    assert (answered.counted_tokens, answered.usage) == (19, Usage(tokens_in=0, tokens_out=0))
