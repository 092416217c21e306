"""Agents, as a proxy sees them: keep-alive clients that ask, read the answer, and ask again.

    python -m tests.bench.proxy_load PORT CLIENTS CALLS SECONDS KIND NAME

A process of its own on raw sockets and uvloop, lean enough not to be what is measured. KIND is
``plain``, ``stream`` or ``talk``. Prompts differ from call to call, and twenty calls are a session;
``talk`` is one conversation, in which each call repeats all that was said. NAME begins the names of
sessions. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, cast

import uvloop

from tests.bench.figures import percentile

PATH: Final = "/v1/chat/completions"
MODEL: Final = "gpt-5-mini"
CALLS_PER_SESSION: Final = 20
_WORDS: Final = tuple(
    f"{noun}{end}"
    for noun in ("pallet", "truck", "train", "dock", "invoice", "carrier", "route", "price")
    for end in ("", "s", "-side", " 7")
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"
_EXCERPT_CHARS: Final = 300


def sentence(number: int, words: int) -> str:
    """Return text of so many words, another for each number."""
    state, said = number * 2_654_435_761 % 2**32 or 1, []
    for _ in range(words):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        said.append(_WORDS[(state >> 8) % len(_WORDS)])
    return f"{number}: {' '.join(said)}."


def request(body: object, session: str) -> bytes:
    """Return a request as an SDK would send it."""
    raw = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n"
        "authorization: Bearer sk-bench\r\ncontent-type: application/json\r\n"
        f"x-agenticledger-session-id: {session}\r\nx-agenticledger-agent-name: bench\r\n"
        f"content-length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


def requests(kind: str, run: str) -> Iterator[bytes]:
    """Yield requests without end."""
    system = {"role": "system", "content": sentence(0, 60)}
    if kind == "talk":
        said = [system]
        for number in itertools.count(1):
            said.append({"role": "user", "content": sentence(number, 60)})
            yield request({"model": MODEL, "messages": said}, f"{run}-talk")
            said.append({"role": "assistant", "content": sentence(-number, 120)})
    for number in itertools.count(1):
        asked = {"role": "user", "content": sentence(number, 120)}
        body: dict[str, object] = {"model": MODEL, "messages": [system, asked], "max_tokens": 300}
        if kind == "stream":
            body["stream"] = True
        yield request(body, f"{run}-{number // CALLS_PER_SESSION}")


@dataclass
class Run:
    """One run's work and what came of it."""

    requests: Iterator[bytes]
    deadline: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    firsts_s: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""
    sent_bytes: int = 0

    def next_request(self) -> bytes | None:
        if time.perf_counter() >= self.deadline:
            return None
        return next(self.requests, None)

    def take(self, answer: bytes, first_s: float, took_s: float) -> None:
        self.latencies_s.append(took_s)
        self.firsts_s.append(first_s)
        if answer[9:12] != b"200":
            self.errors += 1
            self.first_error = self.first_error or answer[:_EXCERPT_CHARS].decode("latin-1")


class Client(asyncio.Protocol):
    """One keep-alive connection with one call under way."""

    def __init__(self, run: Run, done: asyncio.Future[None]) -> None:
        self._run, self._done = run, done
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._body_at = 0
        self._length: int | None = None
        self._sent_at = self._first_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def go_on(self) -> None:
        """Send the next request, or end."""
        assert self._transport is not None
        request = self._run.next_request()
        if request is None:
            self._done.set_result(None)
            return
        self._run.sent_bytes += len(request)
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._body_at:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._body_at = end + 4
            found = _LENGTH.search(self._buffer, 0, end + 2)
            chunked = _CHUNKED.search(self._buffer, 0, end + 2)
            self._length = None if chunked or not found else int(found[1])
        if len(self._buffer) > self._body_at and not self._first_s:
            self._first_s = time.perf_counter() - self._sent_at
        if self._is_whole():
            took_s = time.perf_counter() - self._sent_at
            self._run.take(bytes(self._buffer), self._first_s or took_s, took_s)
            self._buffer.clear()
            self._body_at, self._first_s = 0, 0.0
            self.go_on()

    def _is_whole(self) -> bool:
        if self._length is None:
            return self._buffer.endswith(_LAST_CHUNK)
        return len(self._buffer) >= self._body_at + self._length

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the proxy closed the connection"))


async def drive(port: int, run: Run, clients: int, seconds: float) -> float:
    """Connect all clients, then let them run; return how long it took."""
    loop = asyncio.get_running_loop()
    opened: list[tuple[Client, asyncio.Future[None]]] = []
    for _ in range(clients):
        done: asyncio.Future[None] = loop.create_future()
        client = Client(run, done)
        await loop.create_connection(lambda made=client: made, "127.0.0.1", port)  # type: ignore[misc]
        opened.append((client, done))
    began = time.perf_counter()
    run.deadline = began + seconds
    try:
        for client, _ in opened:
            client.go_on()
        await asyncio.gather(*(done for _, done in opened))
        return time.perf_counter() - began
    finally:
        for client, _ in opened:
            client.close()


def main(arguments: list[str]) -> None:
    port, clients, calls, seconds, kind, name = arguments
    made = itertools.islice(requests(kind, name), int(calls))
    # Made before the clock starts, unless there are too many to hold.
    run = Run(iter(list(made)))
    began = time.process_time()
    took = uvloop.run(drive(int(port), run, int(clients), float(seconds)))
    result = {
        "calls": len(run.latencies_s),
        "seconds": took,
        "p50_ms": percentile(run.latencies_s, 0.5) * 1000,
        "p99_ms": percentile(run.latencies_s, 0.99) * 1000,
        "first_p50_ms": percentile(run.firsts_s, 0.5) * 1000,
        "errors": run.errors,
        "first_error": run.first_error,
        "sent_bytes": run.sent_bytes,
        "cpu_share": (time.process_time() - began) / took,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
