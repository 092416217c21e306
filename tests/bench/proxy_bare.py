"""The least a Python proxy can do: pass a call on with aiohttp and pass the answer back.

It parses nothing, keeps nothing and limits nothing. What a proxy of this kind costs beside it is
the price of its work; nothing written in Python on one core is faster by much.

    UPSTREAM=http://127.0.0.1:9000 python -m uvicorn tests.bench.proxy_bare:app
"""

from __future__ import annotations

import os

import aiohttp
from starlette.types import Receive, Scope, Send
from yarl import URL

_UPSTREAM = os.environ.get("UPSTREAM", "")
_NOT_PASSED = {b"host", b"connection", b"transfer-encoding", b"content-length"}


class _Session:
    """Opened inside the loop, at the first call."""

    opened: aiohttp.ClientSession | None = None


def _session() -> aiohttp.ClientSession:
    if _Session.opened is None:
        _Session.opened = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
    return _Session.opened


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    body = b""
    while (message := await receive()).get("more_body", False):
        body += message["body"]
    body += message.get("body", b"")
    headers = [
        (name.decode(), value.decode())
        for name, value in scope["headers"]
        if name not in _NOT_PASSED
    ]
    url = URL(_UPSTREAM + scope["raw_path"].decode(), encoded=True)
    async with _session().request(scope["method"], url, data=body, headers=headers) as answer:
        passed = [(n, v) for n, v in answer.raw_headers if n.lower() not in _NOT_PASSED]
        if (length := answer.headers.get("Content-Length")) is not None:
            passed.append((b"content-length", length.encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": passed})
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
