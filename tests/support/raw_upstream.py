"""A provider of raw bytes: keeps exactly what it was sent, answers exactly what it is told.

It knows of HTTP only where a request ends. Answers are chosen by a function of the request; they
are a list of steps: bytes to send, seconds to wait, or ``BREAK`` to abort the connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

BREAK = "break"
CLOSE = "close"
Step = bytes | float | str
Answer = Iterable[Step]

_HEAD_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Seen:
    """One request, byte for byte."""

    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> bytes:
        return self.head.split(b" ", 2)[1]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.split(b"\r\n")[1:]
        pairs = (line.partition(b": ") for line in lines if line)
        return [(name, value) for name, _, value in pairs]

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.headers if each.lower() == name]


def response(
    body: bytes,
    status: str = "200 OK",
    headers: Sequence[tuple[str, str]] = (("content-type", "application/json"),),
) -> bytes:
    """Return a whole response with a length."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def chunked(
    pieces: Sequence[bytes],
    status: str = "200 OK",
    headers: Sequence[tuple[str, str]] = (("content-type", "text/event-stream"),),
) -> list[bytes]:
    """Return a chunked response, piece by piece; the last one is its end."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    head = "\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode()
    return [head, *(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces), b"0\r\n\r\n"]


@dataclass
class RawUpstream:
    """``answer`` may be set at any time; ``seen`` grows."""

    port: int = 0
    answer: Callable[[Seen], Answer] = lambda seen: [response(b"{}")]
    seen: list[Seen] = field(default_factory=list)
    broken: list[Seen] = field(default_factory=list)
    """Requests whose client closed the connection before the answer was out."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def posts(self) -> list[Seen]:
        return [each for each in self.seen if each.method not in ("GET", "HEAD", "OPTIONS")]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
            while True:
                seen = await _read(reader)
                self.seen.append(seen)
                if not await self._answer(seen, reader, writer):
                    break

    async def _answer(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Take the steps of an answer; return whether the connection goes on."""
        for step in self.answer(seen):
            if step == BREAK:
                writer.transport.abort()
                return False
            if step == CLOSE:
                return False
            if isinstance(step, bytes):
                writer.write(step)
                try:
                    await writer.drain()
                except ConnectionError:
                    self.broken.append(seen)
                    raise
            elif isinstance(step, float) and await _is_closed(reader, step):
                self.broken.append(seen)
                return False
        return True


async def _is_closed(reader: asyncio.StreamReader, wait_s: float) -> bool:
    """Wait; say whether the client closed the connection meanwhile."""
    end_s = asyncio.get_running_loop().time() + wait_s
    while (left_s := end_s - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(min(0.02, left_s))
        if reader.at_eof():
            return True
    return False


async def _read(reader: asyncio.StreamReader) -> Seen:
    head = await reader.readuntil(b"\r\n\r\n")
    body = b""
    lowered = head.lower()
    if b"\r\ncontent-length:" in lowered:
        length = lowered.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0]
        body = await reader.readexactly(int(length))
    elif b"transfer-encoding: chunked" in lowered:
        raise AssertionError("the proxy sends bodies with their length")
    return Seen(head, body)


@contextmanager
def raw_upstream() -> Iterator[RawUpstream]:
    """Serve in a thread until the block ends."""
    upstream = RawUpstream()
    loop = asyncio.new_event_loop()
    started = threading.Event()

    stopping = asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, limit=_HEAD_BYTES)
        upstream.port = server.sockets[0].getsockname()[1]
        started.set()
        await stopping.wait()
        server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.sleep(0)  # A task that has not begun would not close its connection.
            for each in others:
                each.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(10)
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
