"""Ways to be answered without paying, or to leave a secret behind. Each was one once."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import brotli
import pytest

from ledger_core.errors import StorageError
from tests.api.proxy.conftest import Proxied, Proxying, Recorded
from tests.support import calls
from tests.support.raw_client import Got, exchange, request
from tests.support.raw_upstream import BREAK, CLOSE, Step, chunked, response

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
ASKED = {"model": "gpt-4o", "max_tokens": 1000, "messages": []}
MOST = 10_000
"""Micro-USD: a thousand tokens of output."""
WORDS = "word " * 400
CHOICE = {"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}
ANSWER = json.dumps({"choices": [CHOICE]}).encode()
JSON = ("content-type", "application/json")


def ask(proxied: Proxied, path: str = CHAT, headers: Any = (), **fields: Any) -> Got:
    body = json.dumps({**ASKED, **fields}).encode()
    return exchange(proxied.address, request(proxied.address, path, body, headers=[JSON, *headers]))


def cost(end: Recorded) -> tuple[int, str]:
    return end.told["cost_microusd"], end.told["cost_basis"]


# --- answers that nobody reads --------------------------------------------------------


def test_an_answer_in_a_coding_nobody_knows_costs_what_it_may_have_cost(proxied: Proxied) -> None:
    coded = [JSON, ("content-encoding", "compress")]
    proxied.upstream.answer = lambda seen: [response(ANSWER, headers=coded)]
    assert ask(proxied).status == 200
    assert cost(proxied.only_end()) == (MOST, "estimated")


def test_whoever_leaves_in_the_midst_of_an_answer_pays_for_all_of_it(proxied: Proxied) -> None:
    head, nearly_all, _ = chunked([ANSWER[:-1]], headers=[JSON])
    proxied.upstream.answer = lambda seen: [head, nearly_all, 5.0]
    body = json.dumps(ASKED).encode()
    with socket.create_connection(proxied.address) as connection:
        connection.sendall(request(proxied.address, CHAT, body, headers=[JSON]))
        came = b""
        while WORDS[:-10].encode() not in came:
            came += connection.recv(65536)
    assert proxied.only_end().told["ended"] == "client_left"
    assert cost(proxied.only_end()) == (MOST, "estimated")


def test_whoever_leaves_before_the_usage_is_told_pays_what_it_tells(proxied: Proxied) -> None:
    said = b'data: {"choices":[{"index":0,"delta":{"content":"42"},"finish_reason":"stop"}]}\n\n'
    told = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":900}}\n\n'
    head, first, usage, done, end = chunked([said, told, b"data: [DONE]\n\n"])
    proxied.upstream.answer = lambda seen: [head, first, 0.2, usage, done, end]
    body = json.dumps({**ASKED, "stream": True}).encode()
    with socket.create_connection(proxied.address) as connection:
        connection.sendall(request(proxied.address, CHAT, body, headers=[JSON]))
        came = b""
        while b"stop" not in came:
            came += connection.recv(65536)
    told_of = proxied.only_end().told
    assert (told_of["ended"], told_of["tokens_out"]) == ("client_left", 900)
    assert told_of["cost_basis"] == "provider"


def test_an_answer_beyond_what_is_kept_costs_what_it_may_have_cost(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.proxy.copying.ANSWER_BYTES", 1000)
    proxied.upstream.answer = lambda seen: [response(ANSWER)]
    assert ask(proxied).status == 200
    assert cost(proxied.only_end()) == (MOST, "estimated")


def test_an_answer_that_is_fetched_later_costs_what_it_may_cost(proxied: Proxied) -> None:
    queued: dict[str, Any] = {"id": "resp_1", "status": "queued", "output": [], "usage": None}
    proxied.upstream.answer = lambda seen: [response(json.dumps(queued).encode())]
    body = {"model": "gpt-4o", "input": "", "max_output_tokens": 1000, "background": True}
    raw = request(proxied.address, RESPONSES, json.dumps(body).encode(), headers=[JSON])
    assert exchange(proxied.address, raw).status == 200
    assert cost(proxied.only_end()) == (MOST + 10, "estimated")


def test_an_answer_that_is_fetched_later_is_on_record_and_not_paid_for_again(
    proxying_with: Proxying,
) -> None:
    with proxying_with(budget_daily="0.01", rate_limit_rpm=1) as proxied:
        body = {"model": "gpt-4o", "input": "", "max_output_tokens": 1000, "background": True}
        raw = request(proxied.address, RESPONSES, json.dumps(body).encode(), headers=[JSON])
        assert exchange(proxied.address, raw).status == 200
        said = b'{"model":"gpt-4o","output":[],"usage":{"input_tokens":9,"output_tokens":9000}}'
        proxied.upstream.answer = lambda seen: [response(said)]
        fetched = request(proxied.address, f"{RESPONSES}/resp_1?stream=false", method="GET")
        assert exchange(proxied.address, fetched).body == said
        assert exchange(proxied.address, raw).status == 429
        end = proxied.await_ends(2)[1]
        assert (end.told["method"], end.part("response"), cost(end)) == (
            "GET",
            said,
            (0, "estimated"),
        )
        models = request(proxied.address, "/v1/models", method="GET")
        assert exchange(proxied.address, models).status == 200
        assert len(proxied.starts()) == 2
        calls.settle(proxied.live.service.ledgers.get("calls"))
        with proxied.http() as http:
            read = http.get(f"/explain/{end.told['action_id']}").json()
        assert (read["request_status"], read["cost_usd"]) == ("present", 0)


def test_a_chat_at_a_path_nobody_knows_is_paid_for(proxied: Proxied) -> None:
    event = {"choices": [{"index": 0, "delta": {"content": WORDS}}]}
    events = [b"data: %b\n\n" % json.dumps(event).encode(), b"data: [DONE]\n\n"]
    proxied.upstream.answer = lambda seen: chunked(events)
    assert ask(proxied, "/v1/engines/gpt-4o/chat/completions", stream=True).status == 200
    proxied.upstream.answer = lambda seen: [response(ANSWER)]
    assert ask(proxied, "/v1/engines/gpt-4o/chat/completions").status == 200
    assert [cost(each)[0] > 4_000 for each in proxied.await_ends(2)] == [True, True]


# --- batches --------------------------------------------------------------------------

BATCH = {"requests": [{"custom_id": "1", "params": {"model": "bad", "messages": []}}]}
LINES = b'{"custom_id":"1","method":"POST","body":{"model":"bad","messages":[]}}\n'


@pytest.mark.parametrize("rule", [{"allow_models": "ok"}, {"deny_models": "bad"}])
def test_no_batch_hides_a_denied_model(proxying_with: Proxying, rule: dict[str, str]) -> None:
    with proxying_with(**rule) as proxied:
        body = json.dumps(BATCH).encode()
        raw = request(proxied.address, "/v1/messages/batches", body, headers=[JSON])
        assert exchange(proxied.address, raw).status == 403
        packed = brotli.compress(body.replace(b'"model"', b'"mod\\u0065l"'))
        coded = [JSON, ("content-encoding", "br")]
        raw = request(proxied.address, "/v1/messages/batches", packed, headers=coded)
        assert exchange(proxied.address, raw).status == 403
        head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
        form = head + LINES + b"--b--\r\n"
        kind = [("content-type", "multipart/form-data; boundary=b")]
        raw = request(proxied.address, "/v1/files", form, headers=kind)
        assert exchange(proxied.address, raw).status == 403
        assert proxied.upstream.seen == []


def test_no_second_coding_hides_what_is_asked(proxying_with: Proxying) -> None:
    with proxying_with(budget_daily="0.01", deny_models="bad") as proxied:
        packed = brotli.compress(json.dumps(ASKED).encode())
        twice = [JSON, ("content-encoding", "identity"), ("content-encoding", "br")]
        raw = request(proxied.address, CHAT, packed, headers=twice)
        assert exchange(proxied.address, raw).status == 200
        assert proxied.upstream.seen[0].values(b"content-encoding") == [b"identity", b"br"]
        start = proxied.starts()[0].told
        assert (start["model_id"], start["reserved_microusd"]) == ("gpt-4o", MOST)


@pytest.mark.parametrize(
    "more",
    [
        {"models": ["ok", "bad"]},
        {"Models": ["bad"]},
        {"fallbacks": ["bad"]},
        {"fallbacks": [{"model": "bad", "x": 1}]},
        {"fallback_models": {"ok": ["bad"]}},
        {"model": "bad "},
    ],
)
@pytest.mark.parametrize("rule", [{"allow_models": "ok"}, {"deny_models": "bad"}])
def test_no_model_to_fall_back_on_is_a_denied_one(
    proxying_with: Proxying, rule: dict[str, str], more: dict[str, Any]
) -> None:
    with proxying_with(**rule) as proxied:
        assert ask(proxied, **{"model": "ok", **more}).status == 403
        assert proxied.upstream.seen == []
        said = [{"role": "user", "content": '{"models":["bad"]}'}]
        assert ask(proxied, model="ok", messages=said, fallbacks=["OK"]).status == 200


def test_a_batch_has_no_price(proxying_with: Proxying) -> None:
    with proxying_with(refuse_unpriced=True) as proxied:
        for path in ("/v1/messages/batches", "/v1/batches", "/v1/batches/"):
            raw = request(proxied.address, path, json.dumps(BATCH).encode(), headers=[JSON])
            assert exchange(proxied.address, raw).status == 403
        assert proxied.upstream.seen == []


# --- sent once ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["DELETE", "PUT", "GET"])
def test_nothing_is_sent_twice_where_a_kept_connection_breaks(
    proxied: Proxied, method: str
) -> None:
    raw = request(proxied.address, "/v1/files/f/content", method=method)
    assert exchange(proxied.address, raw).status == 200
    proxied.upstream.answer = lambda seen: [BREAK]
    assert exchange(proxied.address, raw).status == 502
    assert len(proxied.upstream.seen) == 2


# --- secrets --------------------------------------------------------------------------

SECRET = "AIzaSyNotARealKey-0123456789"


def everything(proxied: Proxied) -> str:
    return json.dumps([each.told for each in proxied.recorded()])


def test_a_provider_s_key_in_the_query_goes_on_and_is_not_kept(proxied: Proxied) -> None:
    path = f"/v1/models/gemini-2.5-flash:generateContent?alt=sse&k%65y={SECRET}&x=1"
    assert ask(proxied, path).status == 200
    assert SECRET.encode() in proxied.upstream.seen[0].target
    assert proxied.starts()[0].told["query"] == "alt=sse&k%65y=[hidden]&x=1"
    assert SECRET not in everything(proxied)


def test_what_went_wrong_is_told_without_the_address(proxying_with: Proxying) -> None:
    with proxying_with(upstream_silence_s=0.2) as proxied:
        failures: list[list[Step]] = [[b"garbage\r\n\r\n", CLOSE], [2.0], [BREAK]]
        steps = iter(failures)
        proxied.upstream.answer = lambda seen: next(steps)
        for _ in failures:
            assert ask(proxied, f"{CHAT}?api-key={SECRET}").status >= 500
        told = [each.told["error_detail"] for each in proxied.await_ends(3)]
        assert all(told)
        assert SECRET not in everything(proxied)
        assert "http://127.0.0.1" in told[0]


def test_a_token_of_ours_reaches_no_provider_whatever_carries_it(proxied: Proxied) -> None:
    token = proxied.live.tokens["admin"]
    for name in ("x-goog-api-key", "authorization", "x-custom"):
        assert ask(proxied, headers=[(name, token)]).status == 200
    for name in ("session-id", "agent-name", "tag-key"):
        assert ask(proxied, headers=[(f"x-ledgergrid-{name}", token)]).status == 400
    assert ask(proxied, f"/v1/files/{token}").status == 400
    assert ask(proxied, headers=[("authorization", "Bearer eyJxlgt_" + "x" * 43)]).status == 200
    assert token not in everything(proxied)
    assert not any(token.encode() in each.head for each in proxied.upstream.seen)
    assert b"eyJxlgt_" in proxied.upstream.seen[-1].head


def test_a_key_that_is_a_word_is_one_only_where_keys_stand(proxying_with: Proxying) -> None:
    with proxying_with(api_key="test") as proxied:
        ours = ("x-ledgergrid-api-key", "test")
        named = [ours, ("user-agent", "pytest"), ("x-ledgergrid-session-id", "test-1")]
        assert ask(proxied, "/v1/tests", headers=named).status == 200
        assert ask(proxied, headers=[ours, ("authorization", "Bearer test")]).status == 200
        assert [each.values(b"user-agent") for each in proxied.upstream.seen] == [[b"pytest"], []]
        assert proxied.upstream.seen[1].values(b"authorization") == []


def test_of_level_metadata_nothing_is_kept_of_what_a_provider_says(proxying_with: Proxying) -> None:
    with proxying_with(capture_level="metadata") as proxied:
        error = b'{"error":{"type":"invalid_request","message":"cannot do: my secret prompt"}}'
        proxied.upstream.answer = lambda seen: [response(error, "400 Bad Request")]
        assert ask(proxied).status == 400
        end = proxied.only_end().told
        assert (end["error_type"], end.get("error_detail")) == ("invalid_request", None)
        proxied.upstream.answer = lambda seen: [response(b"my secret prompt", "500 Oops")]
        assert ask(proxied).status == 500
        assert "secret" not in everything(proxied)


# --- answers that nobody can pass on --------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n",
        b"HTTP/1.1 099 Odd\r\ncontent-length: 2\r\n",
        b"HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n",
        b"HTTP/1.1 200 OK\r\nx-a: a\x01b\r\ncontent-length: 2\r\n",
    ],
)
def test_an_answer_that_is_no_http_is_said_to_be_none(proxied: Proxied, head: bytes) -> None:
    proxied.upstream.answer = lambda seen: [head + b"\r\n{}"]
    assert ask(proxied).status == 502
    end = proxied.only_end().told
    assert (end["ended"], end["status_code"]) == ("upstream_failed", 502)
    raw = request(proxied.address, "/v1/models", method="GET")
    assert exchange(proxied.address, raw).status == 502


def test_a_database_that_cannot_be_asked_is_a_503_in_the_client_s_words(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(proxied).status == 200

    def fail(secret: str) -> None:
        raise StorageError("the database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(proxied.live.service.tokens, "find", fail)
        got = ask(proxied, headers=[("x-ledgergrid-key", proxied.live.tokens["admin"])])
    assert (got.status, json.loads(got.body)["error"]["type"]) == (503, "ledger_unavailable")
    assert len(proxied.upstream.seen) == 1
    until_s = time.monotonic() + 10
    while not proxied.refusals() and time.monotonic() < until_s:
        time.sleep(0.05)
    assert proxied.refusals()[0].told["reason"] == "ledger_unavailable"
