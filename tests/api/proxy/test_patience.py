"""Streams that outlast every timeout, and services that stop while a call is under way."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

from tests.api.proxy.conftest import Proxying
from tests.support.raw_client import exchange, request
from tests.support.raw_upstream import chunked, raw_upstream
from tests.support.serving import serving

CHAT = "/v1/chat/completions"
ASKED = b'{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hi"}]}'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":30}}\n\n'
DONE = b"data: [DONE]\n\n"
WORDS = 30
SHORT_S = 0.5
SLOW_S = 1.0


def test_a_stream_that_outlasts_every_timeout_goes_on_as_long_as_bytes_come(
    proxying_with: Proxying,
) -> None:
    with proxying_with(
        upstream_silence_s=SHORT_S, upstream_connect_s=SHORT_S, body_timeout_s=SHORT_S
    ) as proxied:
        head, *pieces, last = chunked([WORD] * WORDS + [STOP, USAGE, DONE])
        proxied.upstream.answer = lambda seen: [
            head, *(step for piece in pieces for step in (SHORT_S / 4, piece)), last
        ]  # fmt: skip
        got = exchange(proxied.address, request(proxied.address, CHAT, ASKED), timeout_s=60)
        assert (got.body, got.is_whole) == (WORD * WORDS + STOP + DONE, True)
        told = proxied.only_end().told
        assert told.get("ended", "complete") == "complete"
        assert told["latency_ms"] > 4 * SHORT_S * 1000
        assert (told["tokens_out"], told["cost_basis"]) == (30, "provider")


def test_a_client_that_rests_longer_than_an_upstream_may_be_silent_gets_it_all(
    proxying_with: Proxying,
) -> None:
    with proxying_with(upstream_silence_s=SLOW_S, body_timeout_s=SLOW_S) as proxied:
        said = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"w" * 6_000)
        proxied.upstream.answer = lambda seen: chunked([said] * 1_500 + [DONE])
        data = b""
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.settimeout(30)
            slow.connect(proxied.address)
            slow.sendall(request(proxied.address, CHAT, ASKED))
            for rests in range(1, 4):
                while len(data) < rests * 200_000:
                    data += _some(slow)
                time.sleep(1.5 * SLOW_S)
            while not data.endswith(b"0\r\n\r\n"):
                data += _some(slow)
        assert proxied.only_end().told.get("ended", "complete") == "complete"


def _some(slow: socket.socket) -> bytes:
    piece = slow.recv(1 << 16)
    assert piece, "the answer was cut off"
    return piece


def test_a_stop_lets_a_call_under_way_end(tmp_path: Path) -> None:
    head, *pieces, last = chunked([WORD, USAGE, DONE])
    with raw_upstream() as upstream:
        upstream.answer = lambda seen: [head, pieces[0], 1.5, *pieces[1:], last]
        with serving(tmp_path, upstream_url=upstream.url, shutdown_s="20") as service:
            got: list[bytes] = []
            raw = request(service.address, CHAT, ASKED)
            asking = threading.Thread(
                target=lambda: got.append(exchange(service.address, raw, 30).body)
            )
            asking.start()
            while not upstream.posts:
                time.sleep(0.01)
            service.ask_to_stop()
            asking.join(30)
            assert got == [WORD + DONE]
            service.wait_stopped()
        with serving(tmp_path, upstream_url=upstream.url) as service:
            assert statuses(service.url) == ["done"]


def test_a_call_that_a_stop_cuts_off_is_on_record_without_an_outcome(tmp_path: Path) -> None:
    head, *pieces, _ = chunked([WORD, USAGE])
    with raw_upstream() as upstream:
        upstream.answer = lambda seen: [head, pieces[0], 60.0]
        with serving(tmp_path, upstream_url=upstream.url, shutdown_s="1") as service:
            with socket.create_connection(service.address, timeout=30) as connection:
                connection.sendall(request(service.address, CHAT, ASKED))
                data = b""
                while b"word" not in data:
                    data += connection.recv(65536)
                service.ask_to_stop()
                while piece := connection.recv(65536):
                    data += piece
                assert not data.endswith(b"0\r\n\r\n")
            service.wait_stopped()
        with serving(tmp_path, upstream_url=upstream.url) as service:
            assert statuses(service.url) == ["started"]


def statuses(url: str) -> list[str]:
    """Return how the calls stand by the read API, once it has looked at them all."""
    host, _, port = url.removeprefix("http://").partition(":")
    address = (host, int(port))
    end_s = time.monotonic() + 20
    while True:
        got = exchange(address, request(address, "/api/v1/calls", method="GET"))
        found = [each["status"] for each in json.loads(got.body)["calls"]]
        if found or time.monotonic() > end_s:
            return found
        time.sleep(0.1)
