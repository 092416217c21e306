"""Listens to an HTTP client of the httpx kind, so that what is recorded is what went over the wire.

The SDKs of OpenAI and Anthropic, and others made like them, send everything through one such
client: plain calls and streams, retries, raw answers. It is recognised by its ``send``. What goes
through it is unchanged but for our own headers; its errors pass as they are.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from ledger_core.errors import SettingsError
from ledger_core.records.types.llm_call import Ended
from ledgergrid.integrations.exchange import Exchange, Request
from ledgergrid.integrations.labels import Labels, take_labels

_MARK: Final = "_ledgergrid_is_recorded"
_RECORDED_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})

HandOn = Callable[[Exchange], None]


def tap_client(client: Any, labels: Labels, hand_on: HandOn) -> None:
    """Listen to what an SDK's client sends through."""
    http = getattr(client, "_client", None)
    if http is None:
        raise SettingsError(f"a {type(client).__name__} has no HTTP client to listen to")
    tap(http, labels, hand_on)


def tap(http: Any, labels: Labels, hand_on: HandOn) -> None:
    """Have every call that goes through ``http`` handed on when it ends."""
    send = getattr(http, "send", None)
    if send is None:
        raise SettingsError(f"a {type(http).__name__} sends nothing that could be recorded")
    if getattr(http, _MARK, False):
        raise SettingsError("the calls of this client are recorded already")
    tapped = _tap_async if inspect.iscoroutinefunction(send) else _tap_sync
    http.send = tapped(send, labels, hand_on)
    setattr(http, _MARK, True)


def _begin(request: Any, labels: Labels, hand_on: HandOn) -> Exchange | None:
    """Return the exchange that a request begins, unless it is none of a model's."""
    found = take_labels(request.headers, labels)
    is_json = str(request.headers.get("content-type", "")).startswith("application/json")
    if request.method not in _RECORDED_METHODS or not is_json:
        return None
    request.read()  # In memory already: the SDKs make their JSON before they send it.
    headers = dict(request.headers)
    return Exchange(
        Request(request.method, str(request.url), headers, request.content), found, hand_on
    )


def _why(error: BaseException) -> Ended:
    """Say how a call ended that an error ended. Errors are known by name: no import decides."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"TimeoutException", "TimeoutError"}:
        return "timed_out"
    return "upstream_failed" if isinstance(error, Exception) else "client_left"


# --- waiting ---------------------------------------------------------------------------


def _tap_sync(send: Callable[..., Any], labels: Labels, hand_on: HandOn) -> Callable[..., Any]:
    def recorded(request: Any, *, stream: bool = False, **options: Any) -> Any:
        exchange = _begin(request, labels, hand_on)
        if exchange is None:
            return send(request, stream=stream, **options)
        try:
            response = send(request, stream=True, **options)
            exchange.answer(response.status_code, dict(response.headers))
            _listen(response, exchange)
            if not stream:
                response.read()
        except BaseException as error:
            exchange.end(_why(error), error)
            raise
        return response

    return recorded


def _listen(response: Any, exchange: Exchange) -> None:
    """Note what is read from an answer, until it is read to its end or closed."""
    iter_raw, close = response.iter_raw, response.close
    is_reading = False

    def iter_and_note(*args: Any, **options: Any) -> Iterator[bytes]:
        nonlocal is_reading
        chunks = iter_raw(*args, **options)
        try:
            while True:
                is_reading = True
                try:
                    chunk = next(chunks, None)
                finally:
                    is_reading = False
                if chunk is None:
                    break
                exchange.add(chunk)
                yield chunk
            exchange.end("complete")
        except Exception as error:
            exchange.end(_why(error), error)
            raise
        finally:
            chunks.close()

    def close_and_note() -> None:
        close()
        if not is_reading:  # The one who reads knows better whether that was the end.
            exchange.end("client_left")

    response.iter_raw, response.close = iter_and_note, close_and_note


# --- asyncio ---------------------------------------------------------------------------


def _tap_async(send: Callable[..., Any], labels: Labels, hand_on: HandOn) -> Callable[..., Any]:
    async def recorded(request: Any, *, stream: bool = False, **options: Any) -> Any:
        exchange = _begin(request, labels, hand_on)
        if exchange is None:
            return await send(request, stream=stream, **options)
        try:
            response = await send(request, stream=True, **options)
            exchange.answer(response.status_code, dict(response.headers))
            _listen_async(response, exchange)
            if not stream:
                await response.aread()
        except BaseException as error:
            await _end(exchange, _why(error), error)
            raise
        return response

    return recorded


def _listen_async(response: Any, exchange: Exchange) -> None:
    """As :func:`_listen`."""
    aiter_raw, aclose = response.aiter_raw, response.aclose
    is_reading = False

    async def iter_and_note(*args: Any, **options: Any) -> AsyncIterator[bytes]:
        nonlocal is_reading
        chunks = aiter_raw(*args, **options)
        try:
            while True:
                is_reading = True
                try:
                    chunk = await anext(chunks, None)
                finally:
                    is_reading = False
                if chunk is None:
                    break
                exchange.add(chunk)
                yield chunk
            await _end(exchange, "complete")
        except (Exception, asyncio.CancelledError) as error:
            await _end(exchange, _why(error), error)
            raise
        finally:
            await chunks.aclose()

    async def close_and_note() -> None:
        await aclose()
        if not is_reading:
            await _end(exchange, "client_left")

    response.aiter_raw, response.aclose = iter_and_note, close_and_note


async def _end(exchange: Exchange, ended: Ended, error: BaseException | None = None) -> None:
    """Hand on in a thread: signing and writing to disk must not hold up an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # Another kind of loop, which has no such threads.
        exchange.end(ended, error)
    else:
        await asyncio.to_thread(exchange.end, ended, error)
