"""Calls as they end, to whoever watches: a WebSocket that follows the views.

::

    {"type":"call","action_id":"…","session_id":"…","status_code":200,"status":"done",…}

Each viewer reads from the views at its own pace, so it sees every worker's calls, and what nobody
reads piles up nowhere. One that does not take what it is sent is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import anyio
import msgspec
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from api.calls.reading import CallReader, look
from api.service import Service
from ledger_core.errors import AccessError, BusyError, LedgerGridError, NotFoundError

router = APIRouter()
_LOOK_S = 0.2
_LOOK_AGAIN_S = 15.0
_SEND_S = 5.0
"""A viewer whose connection takes nothing for so long has stopped reading."""
_AT_ONCE = 100
_BEHIND = 2_000
"""Entries that a viewer may be behind; a slower one goes on from what is new."""


@router.websocket("/ws")
async def watch_calls(socket: WebSocket) -> None:
    """Send calls as they end, from now on."""
    service: Service = socket.app.state.service
    try:
        reader = await anyio.to_thread.run_sync(look, service, socket)
        service.hub.take_seat()
    except (AccessError, NotFoundError):
        await socket.close(1008)
        return
    except BusyError:
        await socket.close(1013)
        return
    try:
        await socket.accept()
        tasks = [
            asyncio.create_task(_send(service, socket, reader)),
            asyncio.create_task(_listen(socket)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        service.hub.leave_seat()


async def _listen(socket: WebSocket) -> None:
    """Take whatever a viewer says, to notice when it leaves."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return


async def _send(service: Service, socket: WebSocket, reader: CallReader) -> None:
    loop = asyncio.get_running_loop()
    position = await anyio.to_thread.run_sync(reader.covered)
    looked_s = loop.time()
    try:
        while True:
            await asyncio.sleep(_LOOK_S)
            if reader.sight is None or loop.time() - looked_s > _LOOK_AGAIN_S:
                # Whoever lost the right to see calls, or has not had a ledger of them.
                reader = await anyio.to_thread.run_sync(look, service, socket)
                looked_s = loop.time()
            calls, position = await anyio.to_thread.run_sync(_read, reader, position)
            for call in calls:
                async with asyncio.timeout(_SEND_S):
                    await socket.send_text(format_event(call))
    except (TimeoutError, LedgerGridError, WebSocketDisconnect, RuntimeError):
        with contextlib.suppress(RuntimeError, TimeoutError):
            async with asyncio.timeout(_SEND_S):
                await socket.close(1008)


def _read(reader: CallReader, position: int) -> tuple[list[dict[str, Any]], int]:
    covered = reader.covered()
    if covered - position > _BEHIND:
        position = covered - _BEHIND
    return reader.moved(position, _AT_ONCE) if covered > position else ([], position)


def format_event(call: dict[str, Any]) -> str:
    """Write a call as an event, by the names that tools of this kind use."""
    event = {
        "type": "call",
        "blocked": call["status"] == "refused",
        "error": call["is_error"],
        **call,
    }
    return msgspec.json.encode(event).decode()
