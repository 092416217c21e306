"""Keep-alive clients on raw sockets and uvloop, lean enough not to be what is measured.

They talk to 127.0.0.1, to nobody else.
"""

from __future__ import annotations

import asyncio
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

import uvloop

from tests.bench.figures import percentile

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_LAST_CHUNK: Final = b"0\r\n\r\n"
_EXCERPT_CHARS: Final = 300


@dataclass
class Run(ABC):
    """One run's work and what came of it."""

    requests: Iterator[bytes]
    deadline: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    firsts_s: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""
    sent_bytes: int = 0

    @abstractmethod
    def count_refused(self, answer: bytes) -> int:
        """Say how much of what was asked was not done."""

    def next_request(self) -> bytes | None:
        if time.perf_counter() >= self.deadline:
            return None
        return next(self.requests, None)

    def take(self, answer: bytes, first_s: float, took_s: float) -> None:
        self.latencies_s.append(took_s)
        self.firsts_s.append(first_s)
        if refused := self.count_refused(answer):
            self.errors += refused
            self.first_error = self.first_error or answer[:_EXCERPT_CHARS].decode("latin-1")


class Client(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

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
            self._done.set_exception(exc or ConnectionError("the service closed the connection"))


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


def measure(port: int, run: Run, clients: int, seconds: float) -> dict[str, Any]:
    """Run; return the figures that every run has."""
    began = time.process_time()
    took = uvloop.run(drive(port, run, clients, seconds))
    return {
        "seconds": took,
        "p50_ms": percentile(run.latencies_s, 0.5) * 1000,
        "p99_ms": percentile(run.latencies_s, 0.99) * 1000,
        "errors": run.errors,
        "first_error": run.first_error,
        "cpu_share": (time.process_time() - began) / took,
    }
