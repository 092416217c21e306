"""Every wire format, read whatever comes."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import limits
from ledger_core.llm import wire

WIRES: list[wire.Wire] = list(get_args(wire.Wire))

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800\0")
keys = st.text() | st.sampled_from(
    [
        "type",
        "model",
        "messages",
        "content",
        "role",
        "input",
        "output",
        "usage",
        "choices",
        "delta",
        "message",
        "tool_calls",
        "function",
        "index",
        "id",
        "error",
        "response",
        "item",
        "system",
        "tools",
        "name",
        "arguments",
        "text",
        "summary",
        "content_block",
        "output_index",
        "stream_options",
        "finish_reason",
        "prompt_tokens_details",
    ]
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/chat/completions", "openai.chat"),
        ("/V1/Chat/Completions/", "openai.chat"),
        ("/openai/deployments/mine/chat/completions?api-version=1", "openai.chat"),
        ("/v1/responses", "openai.responses"),
        ("/v1/responses/compact", "other"),
        ("/v1/responses/resp_1/cancel", "other"),
        ("/v1/embeddings", "openai.embeddings"),
        ("/v1/messages", "anthropic.messages"),
        ("/v1/messages?beta=true", "anthropic.messages"),
        ("/v1/messages/count_tokens", "anthropic.count_tokens"),
        ("/v1/messages/batches", "other"),
        ("/v1/threads/thread_1/messages", "other"),
        ("/", "other"),
        ("", "other"),
    ],
)
def test_a_path_names_its_wire_format(path: str, expected: str) -> None:
    assert wire.wire_of(path) == expected


@given(st.sampled_from(WIRES), st.binary(), st.sampled_from([None, "gzip", "br", "zstd", "x"]))
def test_no_bytes_make_a_reader_raise(name: wire.Wire, body: bytes, coding: str | None) -> None:
    wire.parse_request(name, body, "application/json", coding)
    wire.parse_response(name, 200, body, "application/json", coding)
    wire.parse_response(name, 500, body, "text/event-stream", coding)
    wire.ask_for_usage(body)


@given(st.sampled_from(WIRES), json_values)
def test_no_json_makes_a_reader_raise(name: wire.Wire, value: Any) -> None:
    body = json.dumps(value).encode()
    wire.parse_request(name, body)
    wire.parse_response(name, 200, body)


@given(st.sampled_from(WIRES), st.lists(st.dictionaries(keys, json_values, max_size=4), max_size=3))
def test_no_stream_makes_a_reader_raise(name: wire.Wire, events: list[Any]) -> None:
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    wire.parse_response(name, 200, body, "text/event-stream")


def test_json_nested_too_deep_is_told_as_that() -> None:
    for depth in (limits.LLM_DEPTH + 1, 100_000):
        body = b'{"messages":' + b"[" * depth + b"]" * depth + b"}"
        asked = wire.parse_request("openai.chat", body)
        assert asked.parse_error
        assert "deeper" in asked.parse_error


def test_a_body_of_too_many_values_is_not_read() -> None:
    body = b'{"messages":[' + b"[]," * (limits.LLM_VALUES // 2) + b"[]]}"
    assert "values" in (wire.parse_request("openai.chat", body).parse_error or "")


def test_what_a_provider_says_without_any_format_is_the_error_s_detail() -> None:
    answered = wire.parse_response("openai.chat", 502, b"<h1>Bad gateway</h1>", "text/html")
    assert answered.error_detail == "<h1>Bad gateway</h1>"
    assert answered.parse_error
    answered = wire.parse_response("openai.chat", 422, b'{"detail":"no"}', "application/json")
    assert answered.error_detail == '{"detail":"no"}'
    assert answered.parse_error is None


def test_an_empty_answer_is_no_error() -> None:
    answered = wire.parse_response("openai.chat", 200, b"")
    assert (answered.parse_error, answered.content) == (None, None)


def test_a_byte_order_mark_and_utf_16_are_read_as_servers_read_them() -> None:
    for coding in ("utf-8-sig", "utf-16", "utf-32"):
        body = '{"model":"gpt-4o"}'.encode(coding)
        assert wire.parse_request("openai.chat", body).model == "gpt-4o"


def test_names_with_nul_fit_into_columns_and_contents_keep_it() -> None:
    body = b'{"model":"a\\u0000b","choices":[{"message":{"content":"c\\u0000d"}}]}'
    answered = wire.parse_response("openai.chat", 200, body)
    assert answered.model == "a\ufffdb"
    assert answered.content == "c\0d"


def test_lone_surrogates_become_replacement_characters() -> None:
    body = b'{"choices":[{"message":{"content":"a\\ud800b\\ud83d\\ude00"}}]}'
    answered = wire.parse_response("openai.chat", 200, body)
    assert answered.content == "a\ufffdb\U0001f600"
