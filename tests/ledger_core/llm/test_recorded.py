"""Real traffic, read twice: by the parsers, and here by plain dictionary access.

The recordings are not part of the project; where they are absent, these tests are skipped.
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger_core.llm import sse, wire
from ledger_core.llm.asking_usage import unasked
from ledger_core.llm.model import Answered, Asked, ToolCall

TRAFFIC = Path(__file__).resolve().parents[4] / "shared" / "traffic" / "recorded.jsonl.gz"

pytestmark = pytest.mark.skipif(not TRAFFIC.exists(), reason="no recorded traffic here")


@functools.cache
def recordings() -> list[dict[str, Any]]:
    with gzip.open(TRAFFIC) as file:
        return [json.loads(line) for line in file]


def body_of(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def read(row: dict[str, Any]) -> tuple[Asked, Answered]:
    form = isinstance(row["request"], str)
    asked = wire.parse_request(
        wire.wire_of(row["path"]),
        body_of(row["request"]),
        "multipart/form-data; boundary=x" if form else "application/json",
    )
    answered = wire.parse_response(
        wire.wire_of(row["path"]), row["status"], body_of(row["response"]), row["content_type"]
    )
    return asked, answered


def rows(path: str, *, streams: bool | None = None) -> Iterator[dict[str, Any]]:
    for row in recordings():
        streamed = "event-stream" in row["content_type"]
        if row["path"].partition("?")[0].endswith(path) and streams in (None, streamed):
            yield row


def events(text: str) -> list[dict[str, Any]]:
    """The recordings' streams have LF and one data line an event; that is all this can read."""
    lines = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_there_are_447_recordings() -> None:
    assert len(recordings()) == 447


def test_every_path_has_its_wire_format() -> None:
    for row in recordings():
        path = row["path"].partition("?")[0]
        expected = {
            "/v1/chat/completions": "openai.chat",
            "/api/v1/chat/completions": "openai.chat",
            "/v1/responses": "openai.responses",
            "/api/v1/responses": "openai.responses",
            "/v1/messages": "anthropic.messages",
            "/v1/messages/count_tokens": "anthropic.count_tokens",
        }.get(path, "other")
        assert wire.wire_of(row["path"]) == expected


def test_every_request_is_read() -> None:
    for row in recordings():
        asked, _ = read(row)
        request = row["request"]
        if isinstance(request, str):
            assert asked.parse_error
            continue
        assert asked.parse_error is None
        assert asked.model == request.get("model")
        assert asked.stream is bool(request.get("stream", False))
        assert asked.tools == request.get("tools")
        assert asked.temperature == request.get("temperature")
        limit_names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
        asked_limits = [request[name] for name in limit_names if name in request]
        assert asked.max_tokens == (asked_limits[0] if asked_limits else None)
        assert asked.n == request.get("n", 1)
        assert asked.user_id == request.get("user", request.get("metadata", {}).get("user_id"))


def test_every_message_system_prompt_and_tool_result_is_read() -> None:
    for row in recordings():
        request = row["request"]
        if isinstance(request, str) or wire.wire_of(row["path"]) == "other":
            continue
        asked, _ = read(row)
        messages = request.get("messages", request.get("input"))
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        assert asked.messages == messages
        system = [request[name] for name in ("instructions", "system") if name in request]
        spoken = [m for m in messages if "content" in m]
        system += [m["content"] for m in spoken if m.get("role") in ("system", "developer")]
        texts = [
            part if isinstance(part, str) else "".join(p.get("text", "") for p in part)
            for part in system
        ]
        assert asked.system_prompt == ("\n".join(texts) if texts else None)
        results = [m["content"] for m in messages if m.get("role") == "tool"]
        results += [m["output"] for m in messages if m.get("type") == "function_call_output"]
        for message in messages:
            if "messages" in row["path"] and isinstance(message["content"], list):
                parts = message["content"]
                results += [p["content"] for p in parts if p["type"] == "tool_result"]
        assert [each["content"] for each in asked.tool_results or []] == results


def test_every_error_is_read() -> None:
    errors = [row for row in recordings() if row["status"] >= 400]
    assert len(errors) == 8
    for row in errors:
        _, answered = read(row)
        error = row["response"]["error"]
        assert answered.error_type == error.get("type") or str(error["code"])
        assert answered.error_detail is not None
        assert answered.error_detail.startswith(error["message"])


def test_every_chat_completion_is_read() -> None:
    for row in rows("/chat/completions", streams=False):
        if row["status"] != 200:
            continue
        _, answered = read(row)
        body = row["response"]
        assert (answered.response_id, answered.model) == (body["id"], body["model"])
        assert len(answered.choices) == len(body["choices"])
        for choice, sent in zip(answered.choices, body["choices"], strict=True):
            message = sent["message"]
            assert choice.content == message["content"]
            assert choice.stop_reason == sent["finish_reason"]
            assert called(choice.tool_calls) == [
                (each["id"], each["function"]["name"], each["function"].get("arguments"))
                for each in message.get("tool_calls") or []
            ]
            assert choice.reasoning == message.get("reasoning")
        assert_chat_usage(answered, body["usage"])


def called(calls: tuple[ToolCall, ...]) -> list[tuple[Any, ...]]:
    return [(each.id, each.name, each.arguments) for each in calls]


def assert_chat_usage(answered: Answered, sent: dict[str, Any]) -> None:
    usage = answered.usage
    assert usage
    assert (usage.tokens_in, usage.tokens_out) == (sent["prompt_tokens"], sent["completion_tokens"])
    given, made = sent.get("prompt_tokens_details", {}), sent.get("completion_tokens_details", {})
    assert usage.tokens_cached == given.get("cached_tokens")
    assert usage.tokens_cache_write == given.get("cache_write_tokens")
    assert usage.tokens_reasoning == made.get("reasoning_tokens")
    assert usage.tokens_audio_in == given.get("audio_tokens")
    assert usage.tokens_audio_out == made.get("audio_tokens")
    assert (usage.cost_microusd is None) == ("cost" not in sent)


def test_every_chat_stream_is_read() -> None:
    for row in rows("/chat/completions", streams=True):
        _, answered = read(row)
        chunks = events(row["response"])
        choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
        deltas = [choice["delta"] for choice in choices]
        assert (answered.response_id, answered.model) == (chunks[0]["id"], chunks[0]["model"])
        content = "".join(each["content"] for each in deltas if each.get("content"))
        assert (answered.content or "") == content
        calls: dict[int, list[str]] = {}
        for delta in deltas:
            for piece in delta.get("tool_calls", []):
                call = calls.setdefault(piece["index"], [piece.get("id"), "", ""])
                call[1] += piece["function"].get("name", "")
                call[2] += piece["function"]["arguments"]
        assert called(answered.tool_calls) == [tuple(each) for each in calls.values()]
        assert answered.stop_reason == choices[-1]["finish_reason"]
        assert_chat_usage(answered, chunks[-1]["usage"])


def test_every_response_is_read() -> None:
    for row in rows("/responses"):
        if row["status"] != 200:
            continue
        _, answered = read(row)
        body = row["response"]
        if isinstance(body, str):
            body = events(body)[-1]["response"]
        output = body["output"]
        parts = [part for item in output if item["type"] == "message" for part in item["content"]]
        assert (answered.response_id, answered.model) == (body["id"], body["model"])
        assert answered.content == ("".join(part["text"] for part in parts) if parts else None)
        assert answered.stop_reason == body["status"]
        functions = [each for each in answered.tool_calls if each.kind == "function"]
        assert called(tuple(functions)) == [
            (item["call_id"], item["name"], item["arguments"])
            for item in output
            if item["type"] == "function_call"
        ]
        assert [each.name for each in answered.tool_calls] == [
            item.get("name", item["type"].replace("_call", ""))
            for item in output
            if item["type"].endswith("_call")
        ]
        assert [*answered.citations] == [note for part in parts for note in part["annotations"]]
        thoughts = [item.get("summary", []) for item in output if item["type"] == "reasoning"]
        texts = [piece["text"] for thought in thoughts for piece in thought]
        assert answered.reasoning == ("\n\n".join(texts) or None)
        usage = body["usage"]
        assert (answered.usage is None) == (usage is None)
        if answered.usage:
            assert answered.usage.tokens_in == usage["input_tokens"]
            assert answered.usage.tokens_out == usage["output_tokens"]
            assert answered.usage.tokens_cached == usage["input_tokens_details"]["cached_tokens"]
            reasoning = usage["output_tokens_details"]["reasoning_tokens"]
            assert answered.usage.tokens_reasoning == reasoning


def test_every_message_is_read() -> None:
    for row in rows("/messages"):
        if row["status"] != 200:
            continue
        _, answered = read(row)
        body = row["response"]
        message = body if isinstance(body, dict) else put_together(events(body))
        blocks = message["content"]
        assert (answered.response_id, answered.model) == (message["id"], message["model"])
        texts = [block["text"] for block in blocks if block["type"] == "text"]
        assert answered.content == ("".join(texts) if texts else None)
        assert answered.stop_reason == message["stop_reason"]
        assert called(answered.tool_calls) == [
            (block["id"], block["name"], block["input"])
            for block in blocks
            if block["type"] in ("tool_use", "server_tool_use", "mcp_tool_use")
        ]
        thoughts = [block["thinking"] for block in blocks if block["type"] == "thinking"]
        assert answered.reasoning == ("\n\n".join(thoughts) if thoughts else None)
        assert [*answered.citations] == [
            note for block in blocks for note in block.get("citations") or []
        ]
        assert_message_usage(answered, message["usage"])


def assert_message_usage(answered: Answered, sent: dict[str, Any]) -> None:
    usage = answered.usage
    assert usage
    passes = sent.get("iterations") or [sent]
    written = sum(each.get("cache_creation_input_tokens", 0) for each in passes)
    cached = sum(each.get("cache_read_input_tokens", 0) for each in passes)
    assert usage.tokens_cached == cached
    assert usage.tokens_cache_write == written
    assert usage.tokens_in == sum(each["input_tokens"] for each in passes) + written + cached
    assert usage.tokens_out == sum(each["output_tokens"] for each in passes)
    searches = (sent.get("server_tool_use") or {}).get("web_search_requests")
    assert usage.web_searches == searches


def put_together(sent: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a stream's events describe, by plain access."""
    message = next(e["message"] for e in sent if e["type"] == "message_start")
    blocks = {e["index"]: e["content_block"] for e in sent if e["type"] == "content_block_start"}
    inputs: dict[int, str] = {}
    for event in sent:
        if event["type"] == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
        if event["type"] != "content_block_delta":
            continue
        delta, block = event["delta"], blocks[event["index"]]
        match delta["type"]:
            case "text_delta":
                block["text"] += delta["text"]
            case "thinking_delta":
                block["thinking"] += delta["thinking"]
            case "citations_delta":
                block["citations"].append(delta["citation"])
            case "input_json_delta":
                inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
    for index, given in inputs.items():
        if given:
            blocks[index]["input"] = json.loads(given)
    return {**message, "content": list(blocks.values())}


def test_counting_tokens_uses_none() -> None:
    for row in rows("/count_tokens"):
        _, answered = read(row)
        assert answered.counted_tokens == row["response"]["input_tokens"]
        assert answered.usage
        assert (answered.usage.tokens_in, answered.usage.tokens_out) == (0, 0)


def test_every_stream_cut_anywhere_is_read_the_same() -> None:
    for row in recordings():
        if "event-stream" not in row["content_type"]:
            continue
        body = body_of(row["response"])
        whole = wire.parse_response(
            wire.wire_of(row["path"]), row["status"], body, row["content_type"]
        )
        for size in (7, 1021):
            reader = wire.Reader(wire.wire_of(row["path"]), row["status"], row["content_type"])
            for start in range(0, len(body), size):
                reader.feed(body[start : start + size])
            assert reader.answered() == whole
            assert reader.ended


def test_what_follows_the_usage_in_a_recorded_stream_stays_byte_for_byte() -> None:
    for row in rows("/chat/completions", streams=True):
        body = body_of(row["response"])
        withheld = b"".join(unasked(body[x.start : x.end], x.data) for x in sse.parse(body))
        lines = row["response"].replace(',"usage":null', "").split("\n\n")
        kept = [each for each in lines if '"choices":[]' not in each.replace(" ", "")]
        assert withheld.decode() == "\n\n".join(kept)
        assert len(kept) == len(lines) - 1
