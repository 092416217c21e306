"""The least an ASGI service can do with a request: read it, answer 201. The HTTP ceiling.

Its answer is as long as a receipt, so that the load generator does the same work for both.
"""

from __future__ import annotations

from typing import Final

from starlette.types import Receive, Scope, Send

ANSWER: Final = b"x" * 1_100
_HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 201, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
