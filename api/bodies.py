"""Reading request bodies: each within its limit, all of them within one budget."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from ledger_core import limits
from ledger_core.errors import BusyError, LedgerGridError, MalformedError, TooLargeError

CONTROL_BYTES = 64 * 1024
"""Limit of every body that is not a submission, and has no limit of its own below."""

BODY_BYTES = {
    "/witness/add-checkpoint": limits.ADD_CHECKPOINT_BYTES,
    "/mcp": 4 * 1024 * 1024,
}


class ClientGoneError(Exception):
    """The client closed the connection before its body was complete; nobody waits."""


class Intake:
    """Counts the bytes of all bodies being held, so that many large ones cannot fill memory."""

    def __init__(self, budget_bytes: int, timeout_s: float) -> None:
        self._budget_bytes = budget_bytes
        self._timeout_s = timeout_s
        self.held_bytes = 0

    async def read(
        self, scope: Scope, receive: Receive, limit: int, *, any_encoding: bool = False
    ) -> bytes:
        """Read a whole body; whoever reads gives it back with :meth:`release`.

        ``any_encoding``: compressed ones too, as they are.
        """
        _check_headers(scope, limit, any_encoding)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    chunk: bytes = message.get("body", b"")
                    size += len(chunk)
                    self._hold(len(chunk))
                    if size > limit:
                        raise TooLargeError(f"body is larger than {limit} bytes")
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except TimeoutError:
            self.release(size)
            raise MalformedError(f"body did not arrive within {self._timeout_s:g} s") from None
        except (LedgerGridError, ClientGoneError, asyncio.CancelledError):
            self.release(size)
            raise

    def _hold(self, size: int) -> None:
        self.held_bytes += size
        if self.held_bytes > self._budget_bytes:
            raise BusyError("too many large requests at once")

    def release(self, size: int) -> None:
        self.held_bytes -= size


def _check_headers(scope: Scope, limit: int, any_encoding: bool) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and not _is_at_most(value, limit):
            raise TooLargeError(f"body is larger than {limit} bytes")
        if any_encoding:
            continue
        if name == b"content-encoding" and value.lower() != b"identity":
            raise MalformedError("send the body without Content-Encoding")


def _is_at_most(value: bytes, limit: int) -> bool:
    return value.isdigit() and len(value) < 19 and int(value) <= limit


class BoundedBodies:
    """Reads the bodies of ordinary routes, within a small limit, before anything parses them."""

    def __init__(self, app: ASGIApp, intake: Intake) -> None:
        self._app = app
        self._intake = intake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        limit = BODY_BYTES.get(scope["path"], CONTROL_BYTES)
        try:
            body = await self._intake.read(scope, receive, limit)
        except LedgerGridError as error:
            await problems.respond(problems.problem_of(error))(scope, receive, send)
            return
        except ClientGoneError:
            return
        unread = [body]

        async def replay() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            return await receive()

        try:
            await self._app(scope, replay, send)
        finally:
            self._intake.release(len(body))
