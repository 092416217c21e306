"""Whoever watches slows nothing: calls go on while viewer, webhook and collector do not.

Nothing is timed here. What watches hangs for as long as the test wants, and calls that waited for
it would not end at all.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import SecretStr

from tests.api.proxy.conftest import Proxied, Proxying
from tests.support.raw_client import exchange, request
from tests.support.raw_upstream import response

CHAT = "/v1/chat/completions"
ASKED = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}'
ANSWER = (
    b'{"model":"gpt-4o","choices":[{"index":0,"finish_reason":"stop","message":{"content":"Ho"}}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":3}}'
)
CALLS = 200
AT_ONCE = 8


@dataclass
class Hanging:
    """Takes connections and whatever is sent on them, and answers nothing for ever."""

    port: int = 0
    taken: list[socket.socket] = field(default_factory=list)
    is_met: threading.Event = field(default_factory=threading.Event)


@contextmanager
def hanging() -> Iterator[Hanging]:
    found = Hanging()
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listening:
        found.port = listening.getsockname()[1]

        def take() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                found.taken.append(connection)
                found.is_met.set()

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield found
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for each in found.taken:
                each.close()


def make_calls(proxied: Proxied, count: int = CALLS) -> None:
    """Make calls, several at once; each must be answered in full and be on record by then."""
    proxied.upstream.answer = lambda seen: [response(ANSWER)]

    def call(number: int) -> bytes:
        headers = [("x-ledgergrid-agent-name", f"agent-{number}")]
        raw = request(proxied.address, CHAT, ASKED, headers=headers)
        return exchange(proxied.address, raw, 60).body

    with ThreadPoolExecutor(AT_ONCE) as threads:
        assert set(threads.map(call, range(count))) == {ANSWER}
    assert len(proxied.ends()) == len(proxied.starts()) == count


def test_calls_end_though_a_webhook_and_a_collector_never_answer(
    proxying_with: Proxying,
) -> None:
    with (
        hanging() as hook,
        hanging() as collector,
        proxying_with(
            alert_webhook_url=SecretStr(f"http://127.0.0.1:{hook.port}/"),
            alert_allow_private=True,
            alert_latency_ms=0,
            alert_cost_per_call="0",
            otel_endpoint=f"http://127.0.0.1:{collector.port}",
        ) as proxied,
    ):
        make_calls(proxied)
        # Both were asked, and neither has said a word.
        assert hook.is_met.wait(20)
        assert collector.is_met.wait(20)
        make_calls_beside(proxied)


def make_calls_beside(proxied: Proxied) -> None:
    """Make some more, while both surely hang."""
    raw = request(proxied.address, CHAT, ASKED)
    for _ in range(20):
        assert exchange(proxied.address, raw, 60).body == ANSWER


def test_calls_end_though_nobody_listens_where_alerts_and_spans_go(
    proxying_with: Proxying,
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with proxying_with(
            alert_webhook_url=SecretStr(f"{url}/"),
            alert_allow_private=True,
            alert_latency_ms=0,
            otel_endpoint=url,
        ) as proxied:
            make_calls(proxied)


def test_calls_end_though_viewers_stop_reading(proxying_with: Proxying) -> None:
    with proxying_with() as proxied:
        viewers = [stopped_viewer(proxied) for _ in range(5)]
        try:
            make_calls(proxied)
        finally:
            for each in viewers:
                each.close()


def stopped_viewer(proxied: Proxied) -> socket.socket:
    """Open the live view, take the greeting, and never read again."""
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    viewer.settimeout(20)
    viewer.connect(proxied.address)
    upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ]
    viewer.sendall(request(proxied.address, "/ws", method="GET", headers=upgrade))
    assert viewer.recv(12) == b"HTTP/1.1 101"
    return viewer
