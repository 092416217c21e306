"""Live entries as server-sent events: from any index, in order, at least once.

::

    id: 41
    event: entry
    data: {"index":41,"leaf_hash":"sha256:…","received_at":"…","record":{…}}

A reader that comes back names the last index it had (``Last-Event-ID``) and misses nothing.
A line ``: still here`` comes whenever nothing else did for a while.
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
from api.entries import EntrySummary, read_summaries
from api.routes.parameters import LedgerName, Size, StrictQuery, bearer
from api.service import Service, ServiceOf
from ledger_core import ids
from ledger_core.errors import AccessError, NotFoundError
from ledger_core.ledger import Ledger

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
    found, _ = actors.open_ledger(service, request, ledger)
    if last_event_id is not None:
        start = ids.parse_decimal(last_event_id) + 1

    def check_access() -> None:
        actors.open_ledger(service, request, ledger)

    return _EventStream(service, found, start, check_access)


class _EventStream(StreamingResponse):
    """Takes its reader's seat when it begins and gives it back however it ends."""

    def __init__(
        self, service: Service, ledger: Ledger, start: int, check_access: Callable[[], None]
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        self._events = follow(service, ledger, start, check_access)
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
    service: Service, ledger: Ledger, start: int, check_access: Callable[[], None]
) -> AsyncGenerator[bytes, None]:
    """Yield entries from ``start`` on as events, as long as the reader may see them."""
    position, checked_s = start, time.monotonic()
    yield b": ledger " + ledger.name.encode() + b"\n\n"
    async with service.hub.watch(ledger) as watch:
        while True:
            if time.monotonic() - checked_s > HEARTBEAT_S:
                try:
                    await anyio.to_thread.run_sync(check_access)
                except (AccessError, NotFoundError):
                    return
                checked_s = time.monotonic()
            found = await anyio.to_thread.run_sync(_read, ledger, position)
            for each in found:
                yield format_event(each)
                position = each.index + 1
            if not found and not await watch.wait(position, HEARTBEAT_S):
                yield b": still here\n\n"


def _read(ledger: Ledger, position: int) -> list[EntrySummary]:
    return list(read_summaries(ledger, range(position, position + _ENTRIES_AT_ONCE)))


def format_event(entry: EntrySummary) -> bytes:
    return f"id: {entry.index}\nevent: entry\ndata: {entry.model_dump_json()}\n\n".encode()
