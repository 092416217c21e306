"""The replaying upstream gives what was recorded, byte for byte, and tells what it was asked."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.demo.exchanges import OWN, RECORDED, body_bytes, read_exchanges
from api.demo.upstream import Manner, Upstream, replaying

OURS = list(read_exchanges(OWN))


def send(upstream: Upstream, exchange: Any, **more: Any) -> httpx.Response:
    body = body_bytes(exchange["request"])
    return httpx.request(exchange["method"], upstream.url + exchange["path"], content=body, **more)


@pytest.mark.parametrize("exchange", OURS, ids=lambda each: each["case"])
def test_a_request_is_answered_as_it_was_recorded(exchange: Any) -> None:
    with replaying(OURS) as upstream:
        answer = send(upstream, exchange)
    assert answer.status_code == exchange["status"]
    assert answer.headers["content-type"] == exchange["content_type"]
    assert answer.content == body_bytes(exchange["response"])


@pytest.mark.skipif(not RECORDED.exists(), reason="no recorded traffic beside the project")
def test_each_of_many_recorded_exchanges_comes_back_byte_for_byte() -> None:
    recorded = list(read_exchanges(RECORDED))
    with replaying(recorded) as upstream, httpx.Client(base_url=upstream.url) as http:
        for each in recorded:
            body = body_bytes(each["request"])
            answer = http.request(each["method"], each["path"], content=body)
            assert answer.status_code == each["status"]
            assert answer.content == body_bytes(each["response"])


def test_what_a_proxy_may_add_or_reorder_changes_nothing() -> None:
    streamed = next(each for each in OURS if each["request"].get("stream"))
    altered = dict(reversed(streamed["request"].items())) | {
        "stream_options": {"include_usage": True}
    }
    with replaying(OURS) as upstream:
        answer = httpx.post(upstream.url + streamed["path"], json=altered)
    assert answer.content == body_bytes(streamed["response"])


def test_an_unknown_request_is_refused_unless_anything_is_answered() -> None:
    stranger = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "never asked"}]}
    with replaying(OURS) as upstream:
        refused = httpx.post(upstream.url + "/v1/chat/completions", json=stranger)
    with replaying(OURS, Manner(answers_anything=True)) as upstream:
        plain = httpx.post(upstream.url + "/v1/chat/completions", json=stranger)
        streamed = httpx.post(
            upstream.url + "/v1/chat/completions", json={**stranger, "stream": True}
        )
    assert refused.status_code == 404
    assert refused.json()["error"]["type"] == "not_recorded"
    assert plain.json()["object"] == "chat.completion"
    assert streamed.text.endswith("data: [DONE]\n\n")


def test_an_event_stream_comes_an_event_at_a_time() -> None:
    streamed = next(each for each in OURS if each["request"].get("stream"))
    with replaying(OURS, Manner(pause_s=0.05)) as upstream:
        body = body_bytes(streamed["request"])
        with httpx.stream("POST", upstream.url + streamed["path"], content=body) as answer:
            pieces = list(answer.iter_raw())
    assert len(pieces) == 3
    assert all(piece.endswith(b"\n\n") for piece in pieces)


def test_it_tells_what_it_was_asked() -> None:
    with replaying(OURS) as upstream:
        send(upstream, OURS[0], headers=[("X-Twice", "1"), ("X-Twice", "2")])
        [seen] = upstream.seen
    assert (seen.method, seen.path) == ("POST", OURS[0]["path"])
    assert seen.header("x-twice") == [b"1", b"2"]
    assert seen.body == body_bytes(OURS[0]["request"])
