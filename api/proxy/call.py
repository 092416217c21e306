"""One call, from its start to its end.

::

    read -> judge -> llm.start/1 committed -> forward -> relay, holding the end back
                                                      -> llm.call/2 committed -> the rest

A crash before the first commit leaves nothing, and the upstream has seen nothing. After it the
start is there, and stays without an end: *started, outcome unknown*. The client has the whole
answer only once its end is committed too.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import structlog
from starlette.types import Receive, Send

from api.proxy import answers
from api.proxy.answers import Refusal
from api.proxy.copying import Copy
from api.proxy.desk import Desk
from api.proxy.headers import sort_answer
from api.proxy.holding import Holding, holding_for
from api.proxy.recording import Outcome, Recording
from api.proxy.request import Request
from api.proxy.upstream import BROKEN, UNSENT, Response, tell
from ledger_core.fail_points import reach

log = structlog.get_logger("ledgergrid")

_WATCH_AFTER_S = 0.1
"""A client that leaves is noticed from then on; a shorter call needs no task that waits for it."""
_AFTER_LAST_S = 0.25
"""How long the end of an answer is waited for behind the event that says that all was said."""


_AFTER_LEFT_S = 0.5
"""How long an answer is read on whose client left: what it used is told at its end."""


class BrokenOffError(Exception):
    """The answer cannot be completed; the client is to see that."""


class Call:
    """Used once. ``_is_waiting``: for the upstream, so that a client who leaves may end it."""

    def __init__(self, desk: Desk, request: Request, recording: Recording) -> None:
        self._desk = desk
        self._request = request
        self._recording = recording
        self._task: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_waiting = False
        self._has_left = False

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve the call. Raises :class:`Refusal` while nothing was forwarded."""
        await self._recording.begin()
        reach("proxy.started")
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_WATCH_AFTER_S, self._start_watching, receive)
        try:
            await self._forward(send)
        finally:
            timer.cancel()
            if self._watching is not None:
                self._watching.cancel()

    def _start_watching(self, receive: Receive) -> None:
        self._watching = asyncio.ensure_future(self._watch(receive))

    async def _watch(self, receive: Receive) -> None:
        """Notice that the client leaves: nothing else comes behind a request's body."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._has_left = True
        if self._is_waiting and self._task is not None:
            self._is_waiting = False
            self._task.cancel()

    async def _forward(self, send: Send) -> None:
        request, recording = self._request, self._recording
        outcome = Outcome()
        self._is_waiting = True
        try:
            response = await self._desk.upstream.send(
                request.method, request.url, request.onward, recording.onward_body
            )
        except BROKEN as error:
            self._is_waiting = False
            await self._answer_unreachable(send, outcome, error)
            return
        except asyncio.CancelledError:
            await self._end_left(outcome, None)
            return
        reach("proxy.answered")
        try:
            await self._relay(response, outcome, send)
        finally:
            self._is_waiting = False
            response.close()

    async def _end_left(self, outcome: Outcome, copy: Copy | None) -> None:
        """Record that the client left; if it did not, the service is being stopped."""
        task = asyncio.current_task()
        if not self._has_left or task is None:
            raise asyncio.CancelledError
        task.uncancel()
        outcome.ended = "client_left"
        await self._recording.end(outcome, copy)

    async def _answer_unreachable(self, send: Send, outcome: Outcome, error: Exception) -> None:
        is_late = isinstance(error, asyncio.TimeoutError)
        outcome.ended = "timed_out" if is_late else "upstream_failed"
        outcome.status = 504 if is_late else 502
        outcome.error_type = "upstream_timeout" if is_late else "upstream_unreachable"
        outcome.error_detail = tell(error)
        outcome.is_seen = not isinstance(error, UNSENT)
        await self._recording.end(outcome, None)
        message = f"the upstream {'did not answer in time' if is_late else 'cannot be reached'}"
        body = answers.format_error(self._request.wire, outcome.error_type, message)
        await answers.send_json(send, outcome.status, body, self._recording.headers())

    # --- the answer --------------------------------------------------------------

    async def _relay(self, response: Response, outcome: Outcome, send: Send) -> None:
        onward, named = sort_answer(response.raw_headers)
        outcome.learn(response.status, named)
        holding = self._holding(outcome)
        copy = Copy(self._desk.copies)
        try:
            headers = onward + self._recording.headers()
            start = {"type": "http.response.start", "status": response.status, "headers": headers}
            await self._pass_on(start, response, outcome, holding, copy, send)
        except asyncio.CancelledError:
            if self._has_left:
                await self._read_on(response, holding, copy, _AFTER_LEFT_S)
            response.close()
            await self._end_left(outcome, copy)
        finally:
            copy.release()

    def _holding(self, outcome: Outcome) -> Holding:
        return holding_for(
            self._request.wire,
            outcome.media_type,
            outcome.encoding,
            outcome.length,
            drops_usage=self._recording.asks_for_usage,
        )

    async def _pass_on(
        self,
        start: dict[str, object],
        response: Response,
        outcome: Outcome,
        holding: Holding,
        copy: Copy,
        send: Send,
    ) -> None:
        upstream = self._desk.upstream
        # A stream's first event may be long in coming: its client is told at once that it will.
        is_begun = outcome.media_type.startswith("text/event-stream")
        if is_begun:
            await send(start)
        failure: Exception | None = None
        try:
            while chunk := await upstream.read(response):
                if outcome.first_token_ms is None:
                    outcome.first_token_ms = self._request.passed_ms()
                copy.add(chunk)
                if ready := holding.take(chunk):
                    if not is_begun:
                        is_begun = True
                        await send(start)
                    await send({"type": "http.response.body", "body": ready, "more_body": True})
                if holding.is_last:
                    await self._read_on(response, holding, copy, _AFTER_LAST_S)
                    break
        except BROKEN as error:
            failure = error
        self._is_waiting = False
        if failure is not None:
            outcome.fail(failure)
        reach("proxy.relayed")
        await self._recording.end(outcome, copy)
        reach("proxy.ended")
        if not is_begun:
            await send(start)
        if failure is not None:
            # What came goes on, and no end: the server closes the connection instead.
            await send({"type": "http.response.body", "body": holding.rest(), "more_body": True})
            raise BrokenOffError
        await send({"type": "http.response.body", "body": holding.rest(), "more_body": False})

    async def _read_on(
        self, response: Response, holding: Holding, copy: Copy, within_s: float
    ) -> None:
        """Take what little may still come, and goes to nobody, or not yet."""
        until_s = time.monotonic() + within_s
        with suppress(TimeoutError, *BROKEN):
            async with asyncio.timeout(within_s):
                while time.monotonic() < until_s and (chunk := await response.content.readany()):
                    copy.add(chunk)
                    holding.take(chunk)


__all__ = ["BrokenOffError", "Call", "Refusal"]
