"""A provider that answers with recorded exchanges, over real HTTP, for demo, tests and bench.

    python -m api.demo.upstream exchanges.jsonl --port 9000

A request is looked up by method, path and what its body says as JSON. Two things are left out of
the comparison: the order of members, and ``stream_options``, which a proxy may add. The answer
is the recorded one, byte for byte; event streams go out an event at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
from aiohttp import web

from api.demo.exchanges import OWN, body_bytes, read_exchanges

_REMEMBERED: Final = 1_000
_START_S: Final = 30
_EVENT: Final = re.compile(rb".*?(?:\r\n\r\n|\n\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Manner:
    """How it answers: at once, unless told to think, to pause, or to break answers up."""

    think_s: float = 0.0
    """Before the answer begins."""
    pause_s: float = 0.0
    """Between one piece of an event stream and the next."""
    chunk_bytes: int | None = None
    """Size of the pieces; without it an event stream goes event by event, the rest whole."""
    answers_anything: bool = False
    """Look at no request, but give the first answer of its path, streamed if it asks so."""


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: str) -> list[bytes]:
        """Return every value that a header came with."""
        return [value for key, value in self.headers if key.lower() == name.lower().encode()]


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str
    body: bytes
    is_stream: bool


class Replay:
    """Finds the recorded answer to a request. Equal requests are answered in recorded order."""

    def __init__(self, exchanges: Iterable[Mapping[str, Any]], manner: Manner) -> None:
        self._by_request: dict[str, deque[Answer]] = {}
        self._by_path: dict[tuple[str, str, bool], Answer] = {}
        self._manner = manner
        for each in exchanges:
            self._learn(each)

    def _learn(self, exchange: Mapping[str, Any]) -> None:
        kind = exchange["content_type"]
        is_stream = kind.startswith("text/event-stream")
        answer = Answer(exchange["status"], kind, body_bytes(exchange["response"]), is_stream)
        method, path = exchange["method"], exchange["path"]
        key = _key(method, path, body_bytes(exchange["request"]))
        self._by_request.setdefault(key, deque()).append(answer)
        if answer.status == 200:
            self._by_path.setdefault((method, path, is_stream), answer)

    def find(self, method: str, path: str, body: bytes) -> Answer:
        if self._manner.answers_anything:
            is_stream = b'"stream":true' in body.replace(b" ", b"")
            if anything := self._by_path.get((method, path, is_stream)):
                return anything
        if found := self._by_request.get(_key(method, path, body)):
            answer = found[0]
            found.rotate(-1)
            return answer
        refusal = {"error": {"type": "not_recorded", "message": f"no answer to {method} {path}"}}
        return Answer(404, "application/json", body_bytes(refusal), False)


def _key(method: str, path: str, body: bytes) -> str:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        told = body
    else:
        if isinstance(said, dict):
            said.pop("stream_options", None)
        told = json.dumps(said, sort_keys=True).encode()
    return f"{method} {path} {hashlib.sha256(told).hexdigest()}"


class Upstream:
    """The server: where it answers, how many asked, and the last thousand requests."""

    def __init__(self, exchanges: Iterable[Mapping[str, Any]], manner: Manner) -> None:
        self._replay = Replay(exchanges, manner)
        self._manner = manner
        self._runner: web.ServerRunner | None = None
        self.seen: deque[Seen] = deque(maxlen=_REMEMBERED)
        self.url = ""
        self.count = 0

    async def start(self, port: int = 0) -> None:
        server = web.Server(self._answer, auto_decompress=False, access_log=None)
        runner = self._runner = web.ServerRunner(server, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        path = request.raw_path
        self.count += 1
        self.seen.append(Seen(request.method, path, tuple(request.raw_headers), body))
        answer = self._replay.find(request.method, path, body)
        if self._manner.think_s:
            await asyncio.sleep(self._manner.think_s)
        headers = {"Content-Type": answer.content_type, "X-Request-Id": f"req_{self.count}"}
        response = web.StreamResponse(status=answer.status, headers=headers)
        if not answer.is_stream:
            response.content_length = len(answer.body)
        await response.prepare(request)
        for number, piece in enumerate(self._pieces(answer)):
            if number and self._manner.pause_s:
                await asyncio.sleep(self._manner.pause_s)
            await response.write(piece)
        await response.write_eof()
        return response

    def _pieces(self, answer: Answer) -> Iterator[bytes]:
        size = self._manner.chunk_bytes
        if size is not None:
            yield from (answer.body[at : at + size] for at in range(0, len(answer.body), size))
        elif answer.is_stream:
            yield from (found[0] for found in _EVENT.finditer(answer.body) if found[0])
        else:
            yield answer.body


@contextmanager
def replaying(
    exchanges: Iterable[Mapping[str, Any]], manner: Manner | None = None
) -> Iterator[Upstream]:
    """Answer in a thread, on a port of its own, until the block ends."""
    loop = asyncio.new_event_loop()
    upstream = Upstream(exchanges, manner or Manner())
    thread = threading.Thread(target=loop.run_forever, name="upstream", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(upstream.start(), loop).result(_START_S)
        yield upstream
    finally:
        asyncio.run_coroutine_threadsafe(upstream.stop(), loop).result(_START_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_START_S)
        loop.close()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="upstream", description="Answer with recorded exchanges.")
    parser.add_argument("file", nargs="?", type=Path, default=OWN, help=".jsonl or .jsonl.gz")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--think-ms", type=float, default=0)
    parser.add_argument("--pause-ms", type=float, default=0)
    parser.add_argument("--answer-anything", action="store_true")
    options = parser.parse_args(arguments)
    manner = Manner(
        options.think_ms / 1000, options.pause_ms / 1000, answers_anything=options.answer_anything
    )
    try:
        uvloop.run(_serve(Upstream(read_exchanges(options.file), manner), options.port))
    except KeyboardInterrupt:
        return


async def _serve(upstream: Upstream, port: int) -> None:
    await upstream.start(port)
    print(upstream.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
