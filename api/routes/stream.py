"""Live entries as server-sent events: from any index, in order, at least once.

::

    id: 41
    event: entry
    data: {"index":41,"leaf_hash":"sha256:…","received_at":"…","record":{…}}

A reader that comes back names the last index it had (``Last-Event-ID``) and misses nothing.
A line ``: still here`` comes whenever nothing else did for a while. Entries that the reader may
not see are passed over without a sign.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from typing import Annotated

import anyio
from fastapi import APIRouter, Header, Query, Request, Response, Security
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api import actors, problems
from api.entries import EntrySummary, summarise
from api.routes.parameters import LedgerName, Size, StrictQuery, bearer
from api.service import Service, ServiceOf
from api.sight import Sight
from ledger_core import ids
from ledger_core.errors import AccessError, NotFoundError

router = APIRouter(
    prefix="/api/v1/ledgers/{ledger}",
    tags=["entries"],
    dependencies=[StrictQuery, Security(bearer)],
)
HEARTBEAT_S = 15.0
_ENTRIES_AT_ONCE = 32


@router.get(
    "/stream",
    operation_id="stream_entries",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **problems.responses(400, 401, 404, 503),
    },
)
def stream_entries(
    service: ServiceOf,
    request: Request,
    ledger: LedgerName,
    start: Annotated[Size, Query(alias="from")] = 0,
    last_event_id: Annotated[str | None, Header(description="the last index one had")] = None,
) -> Response:
    """Stream entries from an index on, as they come."""
    sight = actors.look(service, request, ledger)
    if last_event_id is not None:
        start = ids.parse_decimal(last_event_id) + 1

    def look() -> Sight:
        return actors.look(service, request, ledger)

    return _EventStream(service, sight, start, look)


class _EventStream(StreamingResponse):
    """Takes its reader's seat when it begins and gives it back however it ends."""

    def __init__(
        self, service: Service, sight: Sight, start: int, look: Callable[[], Sight]
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        self._events = follow(service, sight, start, look)
        super().__init__(self._events, headers=headers, media_type="text/event-stream")
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._service.hub.take_seat()
        self._service.metrics.open_stream()
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._events.aclose()
            self._service.metrics.close_stream()
            self._service.hub.leave_seat()


async def follow(
    service: Service, sight: Sight, start: int, look: Callable[[], Sight]
) -> AsyncGenerator[bytes, None]:
    """Yield entries from ``start`` on as events, as long as the reader may see them."""
    position, looked_s, spoke_s = start, time.monotonic(), time.monotonic()
    yield b": ledger " + sight.ledger.name.encode() + b"\n\n"
    async with service.hub.watch(sight.ledger) as watch:
        while True:
            if time.monotonic() - looked_s > HEARTBEAT_S:
                try:
                    sight = await anyio.to_thread.run_sync(look)
                except (AccessError, NotFoundError):
                    return
                looked_s = time.monotonic()
            before = position
            position, events = await anyio.to_thread.run_sync(_read, sight, position)
            for event in events:
                yield event
                spoke_s = time.monotonic()
            # What is hidden must not even delay this line: its absence would tell of it.
            rest_s = spoke_s + HEARTBEAT_S - time.monotonic()
            has_moved = position > before
            if rest_s <= 0 or not (has_moved or await watch.wait(position, rest_s)):
                yield b": still here\n\n"
                spoke_s = time.monotonic()


def _read(sight: Sight, position: int) -> tuple[int, list[bytes]]:
    """Return the next events, and where to go on: behind what was hidden as well."""
    wanted = range(position, position + _ENTRIES_AT_ONCE)
    found = sight.ledger.entries(wanted, with_payload=False)
    shown = sight.pick(found)
    after = found[-1].index + 1 if found else position
    return after, [format_event(each) for each in summarise(sight, shown)]


def format_event(entry: EntrySummary) -> bytes:
    return f"id: {entry.index}\nevent: entry\ndata: {entry.model_dump_json()}\n\n".encode()
