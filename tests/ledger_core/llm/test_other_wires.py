"""Embeddings, and everything that has no format of its own."""

from __future__ import annotations

import json

from ledger_core.llm import wire
from ledger_core.llm.model import Usage


def test_an_embedding_s_usage_is_read_and_its_vectors_are_passed_over() -> None:
    vectors = [{"object": "embedding", "index": 0, "embedding": [0.1] * 3_000}] * 1_500
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    body = json.dumps({"data": vectors, "model": "text-embedding-3-small", "usage": usage}).encode()
    answered = wire.parse_response("openai.embeddings", 200, body)
    assert answered.parse_error is None
    assert answered.model == "text-embedding-3-small"
    assert answered.usage == Usage(tokens_in=8)


def test_an_embedding_s_input_is_texts_or_tokens() -> None:
    asked = wire.parse_request("openai.embeddings", b'{"model":"m","input":["ab","c"],"user":"u"}')
    assert (asked.input_chars, asked.user_id) == (3, "u")
    assert asked.messages == [{"role": "user", "content": ["ab", "c"]}]
    asked = wire.parse_request("openai.embeddings", b'{"input":[[1,2],[3]]}')
    assert asked.input_chars == len("[1,2]" + "[3]")


def test_legacy_completions_are_read() -> None:
    body = (
        b'{"model":"m","choices":[{"text":"a","finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    )
    answered = wire.parse_response("other", 200, body)
    assert (answered.content, answered.stop_reason) == ("a", "stop")
    assert answered.usage == Usage(tokens_in=1, tokens_out=2)
    stream = b'data: {"choices":[{"text":"a"}]}\n\ndata: {"choices":[{"text":"b"}]}\n\n'
    answered = wire.parse_response("other", 200, stream, "text/event-stream")
    assert answered.content == "ab"


def test_what_has_no_format_is_told_as_that() -> None:
    answered = wire.parse_response("other", 200, b"\xff\xfb\x90\x00", "audio/mpeg")
    assert (answered.parse_error or "").startswith("audio/mpeg: not JSON")
    assert answered.error_detail is None
    form = wire.parse_request("other", b"--x\r\n", "multipart/form-data; boundary=x")
    assert "a form" in (form.parse_error or "")
    asked = wire.parse_request("other", b"[1]", "application/json")
    assert "instead of an object" in (asked.parse_error or "")
