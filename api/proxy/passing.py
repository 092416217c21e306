"""What is no call: listing models, asking for a file. It passes, and is not recorded."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Send

from api.proxy import answers
from api.proxy.call import BrokenOffError
from api.proxy.headers import sort_answer
from api.proxy.request import Request
from api.proxy.upstream import BROKEN, Response, Upstream


async def pass_through(upstream: Upstream, request: Request, receive: Receive, send: Send) -> None:
    """Forward a request without a body, and its answer."""
    passing = asyncio.ensure_future(_pass(upstream, request, send))
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((passing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if passing.done():
            passing.result()
    finally:
        for task in (passing, leaving):
            if not task.done():
                task.cancel()
        await asyncio.wait((passing, leaving))


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _pass(upstream: Upstream, request: Request, send: Send) -> None:
    try:
        response = await upstream.send(request.method, request.url, request.onward, b"")
    except BROKEN as error:
        is_late = isinstance(error, asyncio.TimeoutError)
        kind = "upstream_timeout" if is_late else "upstream_unreachable"
        body = answers.format_error(request.wire, kind, "the upstream cannot be reached")
        await answers.send_json(send, 504 if is_late else 502, body, [])
        return
    try:
        await _relay(upstream, response, send)
    finally:
        response.close()


async def _relay(upstream: Upstream, response: Response, send: Send) -> None:
    headers = sort_answer(response.raw_headers).onward
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    try:
        while chunk := await upstream.read(response):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except BROKEN as error:
        raise BrokenOffError from error
    await send({"type": "http.response.body", "body": b"", "more_body": False})
