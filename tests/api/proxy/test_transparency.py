"""Byte for byte, both ways: what is odd to us may matter to others."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import brotli
import pytest
import zstandard

from tests.api.proxy.conftest import Proxied, Proxying
from tests.support.raw_client import exchange, request
from tests.support.raw_upstream import BREAK, CLOSE, Step, chunked, response

CHAT = "/v1/chat/completions"
ASKED = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hi"}]}'
STREAMED = b'{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Hi"}]}'
ANSWER = (
    b'{"id":"c1","model":"gpt-4o-mini","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"content":"Ho"}}],"usage":{"prompt_tokens":9,"completion_tokens":3}}'
)
JSON = [("content-type", "application/json")]


def test_duplicate_headers_and_queries_keep_their_order(proxied: Proxied) -> None:
    got_headers = [("content-type", "application/json"), ("x-b", "1"), ("x-a", "2"), ("x-b", "3")]
    proxied.upstream.answer = lambda seen: [response(ANSWER, headers=got_headers)]
    sent = [("x-b", "1"), ("x-a", "2"), ("x-b", "3"), ("accept", "*/*"), ("user-agent", "me")]
    target = CHAT + "?a=1&b=%20x&a=2&c=%2F&=&d"
    got = exchange(proxied.address, request(proxied.address, target, ASKED, headers=sent))
    (seen,) = proxied.upstream.seen
    assert seen.target == target.encode()
    own = (b"host", b"content-length")
    assert [pair for pair in seen.headers if pair[0].lower() not in own] == [
        (name.encode(), value.encode()) for name, value in sent
    ]
    answered = [(k.decode(), v.decode()) for k, v in got.headers]
    assert [pair for pair in answered if pair in got_headers] == got_headers
    assert (got.body, got.is_whole) == (ANSWER, True)
    assert got.values(b"x-request-id") == []
    assert len(got.values(b"date")) == 1
    assert proxied.only_end().told["query"] == target.partition("?")[2]


def test_an_upstreams_own_date_and_request_id_stand(proxied: Proxied) -> None:
    headers = [*JSON, ("date", "Sat, 21 Nov 2020 00:00:00 GMT"), ("x-request-id", "req_1")]
    proxied.upstream.answer = lambda seen: [response(ANSWER, headers=headers)]
    got = exchange(proxied.address, request(proxied.address, CHAT, ASKED))
    assert got.values(b"date") == [b"Sat, 21 Nov 2020 00:00:00 GMT"]
    assert got.values(b"x-request-id") == [b"req_1"]
    assert proxied.only_end().told["request_id"] == "req_1"


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("gzip", partial(gzip.compress, mtime=0)),
        ("br", brotli.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
def test_compressed_bodies_pass_as_they_are(
    proxied: Proxied, name: str, compress: Callable[[bytes], bytes]
) -> None:
    headers = [*JSON, ("content-encoding", name)]
    proxied.upstream.answer = lambda seen: [response(compress(ANSWER), headers=headers)]
    raw = request(proxied.address, CHAT, compress(ASKED), headers=headers)
    got = exchange(proxied.address, raw)
    assert (got.body, got.values(b"content-encoding")) == (compress(ANSWER), [name.encode()])
    assert proxied.upstream.seen[0].body == compress(ASKED)
    (start,), end = proxied.starts(), proxied.only_end()
    assert (start.told["model_id"], end.told["tokens_in"]) == ("gpt-4o-mini", 9)
    assert end.part("response") == compress(ANSWER)


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("gzip", gzip.compress),
        ("br", brotli.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
def test_compressed_streams_pass_as_they_are_and_are_read(
    proxied: Proxied, name: str, compress: Callable[[bytes], bytes]
) -> None:
    said = (
        b'data: {"choices":[{"index":0,"delta":{"content":"Ho"},"finish_reason":"stop"}]}\n\n'
        b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}\n\n'
        b"data: [DONE]\n\n"
    )
    packed = compress(said)
    headers = [("content-type", "text/event-stream"), ("content-encoding", name)]
    pieces = [packed[:20], packed[20:-1], packed[-1:]]
    proxied.upstream.answer = lambda seen: [
        step for piece in chunked(pieces, headers=headers) for step in (piece, 0.02)
    ]
    got = exchange(proxied.address, request(proxied.address, CHAT, STREAMED))
    assert (got.body, got.is_whole) == (packed, True)
    end = proxied.only_end()
    assert end.part("response") == packed
    assert (end.told["tokens_in"], end.told["stop_reason"]) == (9, "stop")


def test_an_answer_whose_usage_is_null_is_estimated(proxied: Proxied) -> None:
    answer = ANSWER.partition(b',"usage"')[0] + b',"usage":null}'
    proxied.upstream.answer = lambda seen: [response(answer)]
    got = exchange(proxied.address, request(proxied.address, CHAT, ASKED))
    assert got.body == answer
    told = proxied.only_end().told
    assert (told["cost_basis"], told["cost_microusd"] > 0) == ("estimated", True)
    assert "parse_error" not in told


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "GET"])
def test_what_carries_no_prompt_passes_unrecorded(proxied: Proxied, method: str) -> None:
    length = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: b\r\n\r\n"
    proxied.upstream.answer = lambda seen: [length + (b"" if method == "HEAD" else b"hello")]
    raw = request(proxied.address, "/v1/models?limit=2", method=method)
    got = exchange(proxied.address, raw)
    assert (got.status, got.values(b"x-a")) == (200, [b"b"])
    assert got.body == (b"" if method == "HEAD" else b"hello")
    assert proxied.upstream.seen[0].target == b"/v1/models?limit=2"
    assert proxied.recorded() == []


def test_a_prompt_in_a_get_is_on_record_too(proxied: Proxied) -> None:
    proxied.upstream.answer = lambda seen: [response(ANSWER)]
    exchange(proxied.address, request(proxied.address, CHAT, ASKED, method="GET"))
    assert proxied.only_end().told["method"] == "GET"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_every_other_change_is_on_record(proxied: Proxied, method: str) -> None:
    proxied.upstream.answer = lambda seen: [response(b"{}")]
    exchange(proxied.address, request(proxied.address, "/v1/files/f1", method=method))
    assert proxied.only_end().told["path"] == "/v1/files/f1"


def test_other_posts_are_stored_as_bytes_with_a_parse_error(proxied: Proxied) -> None:
    proxied.upstream.answer = lambda seen: [response(b"\x00\xff", headers=[("x-a", "b")])]
    got = exchange(
        proxied.address, request(proxied.address, "/v1/audio/speech", b"\xfe\x00not json")
    )
    assert got.body == b"\x00\xff"
    (start,), end = proxied.starts(), proxied.only_end()
    assert (start.part("request"), end.part("response")) == (b"\xfe\x00not json", b"\x00\xff")
    assert "parse_error" in end.told


@pytest.mark.parametrize(
    "target",
    ["//v1/chat/completions", "/V1/Chat/Completions/", "/v1/x/../chat/./completions",
     "/v1/ch%61t/completions", "/v1//chat//completions"],
)  # fmt: skip
def test_paths_are_forwarded_as_they_are_judged(proxied: Proxied, target: str) -> None:
    proxied.upstream.answer = lambda seen: [response(ANSWER)]
    exchange(proxied.address, request(proxied.address, target, ASKED))
    assert proxied.upstream.seen[0].target == CHAT.encode()
    assert proxied.only_end().told["wire"] == "openai.chat"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1%2Fchat/completions", 400),
        ("/v1/chat%2fcompletions", 400),
        ("/v1/chat/completions;x", 400),
        ("/v1/chat\\completions", 400),
        ("/v1/../../v1/chat/completions", 400),
        ("/x/v1/chat/completions", 404),
        ("/v1/../api/v1/ledgers/x", 404),
        ("/api/nothing", 404),
        ("/mcp/nothing", 404),
        ("/session/nothing/x", 404),
        ("/v1", 404),
    ],
)
def test_what_is_unclear_or_ours_is_never_forwarded(
    proxied: Proxied, target: str, status: int
) -> None:
    raw = request(proxied.address, target, ASKED, headers=JSON)
    got = exchange(proxied.address, raw)
    assert got.status in (status, 404, 405), got
    assert proxied.upstream.seen == []


def test_a_credential_in_the_query_is_not_passed_on(proxied: Proxied) -> None:
    got = exchange(proxied.address, request(proxied.address, CHAT + "?key=lgt_abc", ASKED))
    assert got.status == 400
    assert proxied.upstream.seen == []


def test_an_upstream_that_dies_is_seen_to_have_died(proxied: Proxied) -> None:
    head, first, *_ = chunked([b'data: {"choices":[{"delta":{"content":"H"}}]}\n\n', b"x"])
    proxied.upstream.answer = lambda seen: [head, first, 0.05, BREAK]
    got = exchange(proxied.address, request(proxied.address, CHAT, STREAMED))
    assert not got.is_whole
    assert got.body.startswith(b"data: ")
    end = proxied.only_end()
    assert (end.told["ended"], end.told["cost_basis"]) == ("upstream_failed", "estimated")
    assert end.part("response") == got.body


def test_an_answer_that_ends_too_early_is_not_made_whole(proxied: Proxied) -> None:
    proxied.upstream.answer = lambda seen: [response(ANSWER)[:-5], 0.05, CLOSE]
    got = exchange(proxied.address, request(proxied.address, CHAT, ASKED))
    assert not got.is_whole
    assert ANSWER.startswith(got.body)
    assert proxied.only_end().told["ended"] == "upstream_failed"


@pytest.mark.parametrize(
    ("path", "error"),
    [(CHAT, ["message", "type", "param", "code"]), ("/v1/messages", ["type", "message"])],
)
def test_an_upstream_that_cannot_be_reached_is_a_502(
    proxying_with: Proxying, path: str, error: list[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with proxying_with(upstream_url=url) as proxied:
            got = exchange(proxied.address, request(proxied.address, path, ASKED))
            told = json.loads(got.body)
            assert (got.status, list(told["error"])) == (502, error)
            end = proxied.only_end()
            assert (end.told["status_code"], end.told["ended"]) == (502, "upstream_failed")
            assert end.told["cost_microusd"] == 0


def test_a_silent_upstream_is_a_504(proxying_with: Proxying) -> None:
    with proxying_with(upstream_silence_s=0.3) as proxied:
        proxied.upstream.answer = lambda seen: [5.0]
        got = exchange(proxied.address, request(proxied.address, CHAT, ASKED))
        assert got.status == 504
        assert proxied.only_end().told["ended"] == "timed_out"


@pytest.mark.parametrize("steps", [[BREAK], [CLOSE], [5.0]])
def test_a_request_that_got_no_answer_may_have_cost_something(
    proxying_with: Proxying, steps: list[float | str]
) -> None:
    with proxying_with(upstream_silence_s=0.5) as proxied:
        proxied.upstream.answer = lambda seen: steps
        got = exchange(proxied.address, request(proxied.address, CHAT, ASKED))
        assert got.status in (502, 504)
        told = proxied.only_end().told
        assert (told["cost_basis"], told["cost_microusd"] > 0) == ("estimated", True)


def test_a_client_that_leaves_ends_the_call_upstream(proxied: Proxied) -> None:
    head, first, *_ = chunked([b'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n', b"x"])
    proxied.upstream.answer = lambda seen: [head, first, 10.0]
    with socket.create_connection(proxied.address) as connection:
        connection.sendall(request(proxied.address, CHAT, STREAMED))
        while b"Hello" not in connection.recv(65536):
            pass
    end = proxied.only_end()
    assert (end.told["ended"], end.told["cost_basis"]) == ("client_left", "estimated")
    assert end.told["cost_microusd"] > 0
    _until(lambda: len(proxied.upstream.broken) == 1)


def test_a_client_that_leaves_before_the_answer_ends_the_call_upstream(proxied: Proxied) -> None:
    proxied.upstream.answer = lambda seen: [10.0]
    with socket.create_connection(proxied.address) as connection:
        connection.sendall(request(proxied.address, CHAT, ASKED))
        _until(lambda: len(proxied.upstream.seen) == 1)
    assert proxied.only_end().told["ended"] == "client_left"
    _until(lambda: len(proxied.upstream.broken) == 1)


ODD = [
    b'data: {"choices":[{"index":0,"delta":{"content":"a\xe2\x80\xa8b"}}],"usage":null}\n\n',
    b'data:{"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\r\n\r\n',
    b": comment\n\n",
    b'event: x\ndata: {"choices":[{"index":0,\ndata: "delta":{"content":"\\u0000"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","type":"custom",'
    b'"custom":{"name":"run","input":"x"}}]},"finish_reason":"tool_calls"}]}\n\n',
    b"data: [DONE]\n\n",
]


def test_odd_streams_pass_unchanged_and_are_read(proxied: Proxied) -> None:
    head, *pieces, end = chunked(ODD)
    proxied.upstream.answer = lambda seen: [
        step for piece in [head, *pieces, end] for step in (piece, 0.01)
    ]
    # Who asks for usage is given every byte; from others what came of our asking is kept.
    asked = STREAMED[:-1] + b',"stream_options":{"include_usage":true}}'
    got = exchange(proxied.address, request(proxied.address, CHAT, asked))
    assert (got.body, got.is_whole) == (b"".join(ODD), True)
    told = proxied.only_end().told
    assert (told["stop_reason"], told["tool_names"]) == ("tool_calls", ["run"])
    assert proxied.only_end().part("response") == b"".join(ODD)


def test_lone_surrogates_and_nul_in_a_prompt_pass_and_are_kept(proxied: Proxied) -> None:
    proxied.upstream.answer = lambda seen: [response(ANSWER)]
    asked = (
        b'{"model":"gpt-4o-mini\\u0000","user":"\\ud800","messages":'
        b'[{"role":"user","content":"\\ud800\\u0000"}]}'
    )
    exchange(proxied.address, request(proxied.address, CHAT, asked))
    assert proxied.upstream.seen[0].body == asked
    assert proxied.starts()[0].part("request") == asked


def test_usage_is_asked_for_and_what_comes_of_it_kept_from_the_client(proxied: Proxied) -> None:
    text = b'data: {"choices":[{"index":0,"delta":{"content":"H"}}],"usage":null,"x":1}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}\n\n'
    done = b"data: [DONE]\n\n"
    proxied.upstream.answer = lambda seen: chunked([text, usage, done])
    headers = [("accept-encoding", "gzip")]
    got = exchange(proxied.address, request(proxied.address, CHAT, STREAMED, headers=headers))
    assert (got.body, got.is_whole) == (text.replace(b',"usage":null', b"") + done, True)
    (seen,) = proxied.upstream.seen
    assert json.loads(seen.body)["stream_options"] == {"include_usage": True}
    # Out of what is compressed nothing could be kept from the client.
    assert seen.values(b"accept-encoding") == [b"identity"]
    (start,), end = proxied.starts(), proxied.only_end()
    assert start.part("request") == STREAMED
    assert end.part("response") == text + usage + done
    assert (end.told["tokens_in"], end.told["cost_basis"]) == (9, "provider")


def test_a_stream_without_usage_is_not_free(proxying_with: Proxying) -> None:
    with proxying_with(ask_for_usage=False) as proxied:
        events = [b'data: {"choices":[{"index":0,"delta":{"content":"Hello you"}}]}\n\n']
        proxied.upstream.answer = lambda seen: chunked([*events, b"data: [DONE]\n\n"])
        exchange(proxied.address, request(proxied.address, CHAT, STREAMED))
        assert proxied.upstream.seen[0].body == STREAMED
        told = proxied.only_end().told
        assert (told["cost_basis"], told["cost_microusd"] > 0) == ("estimated", True)


def test_the_end_is_on_record_before_the_terminal_event_is_out(proxied: Proxied) -> None:
    text = b'data: {"choices":[{"index":0,"delta":{"content":"H"}}]}\n\n'
    head, *pieces, _ = chunked([text, b"data: [DONE]\n\n"])
    # The connection stays open behind the last event, longer than anybody waits.
    proxied.upstream.answer = lambda seen: [head, *pieces, 60.0]
    began_s = time.monotonic()
    with socket.create_connection(proxied.address) as connection:
        connection.settimeout(10)
        connection.sendall(request(proxied.address, CHAT, STREAMED))
        data = b""
        while b"[DONE]" not in data:
            data += connection.recv(65536)
        assert len(proxied.ends()) == 1
        assert 0.2 < time.monotonic() - began_s < 30


def test_a_streams_headers_do_not_wait_for_its_first_event(proxied: Proxied) -> None:
    head, *pieces = chunked([b"data: [DONE]\n\n"])
    is_told = threading.Event()

    def answer(seen: object) -> Iterator[Step]:
        yield head
        while not is_told.is_set():
            yield 0.02
        yield from pieces

    proxied.upstream.answer = answer
    with socket.create_connection(proxied.address, timeout=20) as connection:
        connection.sendall(request(proxied.address, CHAT, STREAMED))
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        assert b"[DONE]" not in data
        is_told.set()
        while b"[DONE]" not in data:
            data += connection.recv(65536)


def test_many_slow_calls_at_once(proxied: Proxied) -> None:
    proxied.upstream.answer = lambda seen: [1.0, response(ANSWER)]
    raw = request(proxied.address, CHAT, ASKED)
    with ThreadPoolExecutor(150) as threads:
        got = list(threads.map(lambda _: exchange(proxied.address, raw), range(150)))
    assert {(each.status, each.body) for each in got} == {(200, ANSWER)}
    assert len(proxied.await_ends(150)) == 150


def test_others_are_served_while_a_huge_prompt_passes(proxied: Proxied) -> None:
    proxied.upstream.answer = lambda seen: [response(ANSWER)]
    exchange(proxied.address, request(proxied.address, CHAT, ASKED))
    huge = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"%b"}]}' % (
        b"word " * 4_000_000
    )
    slowest_s = 0.0
    thread = threading.Thread(
        target=exchange, args=(proxied.address, request(proxied.address, CHAT, huge), 60)
    )
    thread.start()
    while thread.is_alive():
        began_s = time.monotonic()
        assert exchange(proxied.address, request(proxied.address, CHAT, ASKED)).status == 200
        slowest_s = max(slowest_s, time.monotonic() - began_s)
    thread.join()
    assert any(len(seen.body) == len(huge) for seen in proxied.upstream.seen)
    assert slowest_s < 3


def test_a_body_that_is_too_large_is_refused_and_that_is_on_record(proxied: Proxied) -> None:
    raw = request(proxied.address, CHAT, headers=[("x-a", "b")]).replace(
        b"content-length: 0", b"content-length: 100000000"
    )
    got = exchange(proxied.address, raw)
    assert got.status == 413
    assert [each.told["reason"] for each in proxied.refusals()] == ["too_large"]
    assert proxied.upstream.seen == []


def test_a_websocket_is_refused_with_a_clear_answer(proxied: Proxied) -> None:
    upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ]
    raw = request(proxied.address, "/v1/realtime", method="GET", headers=upgrade)
    got = exchange(proxied.address, raw)
    assert got.status == 501
    assert json.loads(got.body)["error"]["type"] == "not_implemented"
    assert proxied.upstream.seen == []


def _until(is_so: Callable[[], bool], wait_s: float = 10) -> None:
    end_s = time.monotonic() + wait_s
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.01)
