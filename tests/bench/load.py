"""The load generator: keep-alive clients that send prepared requests and look at statuses.

    python -m tests.bench.load PORT FILE CLIENTS SECONDS LINES

A process of its own, lean enough not to be what is measured: raw sockets on uvloop, requests
encoded before the clock starts, answers read for their status only. It ends when every request
has been sent or the time is up, and prints one line of JSON. Talks to 127.0.0.1, to nobody else.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import cast

import uvloop

from tests.bench.figures import percentile

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CREATED = b" 201 "
_CREATED_LINE = b'"status":201'
_EXCERPT_CHARS = 300


@dataclass
class Run:
    """One run's work and what came of it. ``lines`` is a batch's size, 0 for single records."""

    requests: Iterator[bytes]
    lines: int
    deadline: float
    latencies_s: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""

    def next_request(self) -> bytes | None:
        if time.perf_counter() >= self.deadline:
            return None
        return next(self.requests, None)

    def take(self, answer: bytes, took_s: float) -> None:
        """Note one answer: every record in it must have become an entry."""
        self.latencies_s.append(took_s)
        if self.lines:
            refused = self.lines - answer.count(_CREATED_LINE)
        else:
            refused = int(answer[8:13] != _CREATED)
        if refused:
            self.errors += refused
            self.first_error = self.first_error or answer[:_EXCERPT_CHARS].decode("latin-1")


class Client(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(self, run: Run, done: asyncio.Future[None]) -> None:
        self._run, self._done = run, done
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._expected = 0
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def go_on(self) -> None:
        """Send the next request, or end."""
        assert self._transport is not None
        request = self._run.next_request()
        if request is None:
            self._done.set_result(None)
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._expected:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            found = _LENGTH.search(self._buffer, 0, end + 2)
            self._expected = end + 4 + (int(found[1]) if found else 0)
        if len(self._buffer) >= self._expected:
            self._run.take(self._buffer, time.perf_counter() - self._sent_at)
            self._buffer, self._expected = b"", 0
            self.go_on()

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


def read_requests(path: Path) -> list[bytes]:
    """Read what :func:`write_requests` wrote."""
    raw = path.read_bytes()
    requests, at = [], 0
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 4])
        requests.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return requests


def write_requests(path: Path, target: str, bodies: Iterator[bytes]) -> None:
    """Write a POST request for each body, ready to be sent."""
    head = f"POST {target} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    with path.open("wb") as file:
        for body in bodies:
            request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
            file.write(len(request).to_bytes(4) + request)


def batches(lines: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Join lines into NDJSON bodies of ``size`` records."""
    while batch := list(islice(lines, size)):
        yield b"\n".join(batch)


def main(arguments: list[str]) -> None:
    port, file, clients, seconds, lines = arguments
    run = Run(iter(read_requests(Path(file))), int(lines), 0.0)
    began = time.process_time()
    took = uvloop.run(drive(int(port), run, int(clients), float(seconds)))
    result = {
        "requests": len(run.latencies_s),
        "seconds": took,
        "p50_ms": percentile(run.latencies_s, 0.5) * 1000,
        "p99_ms": percentile(run.latencies_s, 0.99) * 1000,
        "errors": run.errors,
        "first_error": run.first_error,
        "cpu_share": (time.process_time() - began) / took,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
