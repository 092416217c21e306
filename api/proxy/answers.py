"""The proxy's own answers, in the shape that the client of a wire format expects.

::

    {"error": {"message": …, "type": "budget_exceeded", "param": null, "code": "budget_exceeded"}}
    {"type": "error", "error": {"type": "budget_exceeded", "message": …}, "request_id": …}

The first is OpenAI's, the second Anthropic's. SDKs make their own exceptions of both.
"""

from __future__ import annotations

import msgspec
from starlette.types import Send

from api.guards import dress_headers

Headers = list[tuple[bytes, bytes]]


class Refusal(Exception):
    """A call that is not forwarded; becomes the answer, and an ``llm.refused/1``.

    ``is_recorded`` is off for requests that are no calls: a path that is unclear, a method that
    is unknown.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        status: int,
        *,
        limit: int | None = None,
        used: int | None = None,
        scope: str | None = None,
        retry_after_s: int | None = None,
        is_recorded: bool = True,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status
        self.limit = limit
        self.used = used
        self.scope = scope
        self.retry_after_s = retry_after_s
        self.is_recorded = is_recorded


def format_error(wire: str, kind: str, message: str) -> bytes:
    """Format an error's body."""
    if wire.startswith("anthropic."):
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})
    error = {"message": message, "type": kind, "param": None, "code": kind}
    return msgspec.json.encode({"error": error})


def refusal_headers(refusal: Refusal) -> Headers:
    """Return what tells a client, and the SDKs' own retries, when to come back."""
    if refusal.retry_after_s is not None:
        return [(b"retry-after", b"%d" % refusal.retry_after_s)]
    if refusal.status == 429:
        # A budget without a window does not come back; SDKs would ask again twice.
        return [(b"x-should-retry", b"false")]
    if refusal.status == 413:
        return [(b"connection", b"close")]
    return []


async def send_json(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Send an answer of our own."""
    own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    dressed = dress_headers(own + headers)
    await send({"type": "http.response.start", "status": status, "headers": dressed})
    await send({"type": "http.response.body", "body": body})
