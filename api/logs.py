"""Logs: one JSON object a line on standard error. No payloads, no tokens, no queries.

Every request has an id, its own (``X-Request-ID``) or a fresh one; it stands in the answer
and in every line logged on its behalf. Requests themselves are logged at ``debug``, since
metrics count them; what went wrong inside is logged at ``error``, here and only here.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.guards import PROXIED
from api.metrics import Metrics
from ledger_core import ids
from ledger_core.errors import LedgerGridError

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = structlog.get_logger("ledgergrid")


# Without local variables, which hold payloads and tokens.
_TRACEBACK = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.ExceptionRenderer(_TRACEBACK),
]


def configure(level: str) -> None:
    """Send every log line of this process, of libraries too, to standard error as JSON."""
    configure_structlog(level)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("alembic", "httpx", "httpcore", "urllib3", "asyncio", "mcp"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def configure_structlog(level: str) -> None:
    """Hand our own lines to Python's logging, whoever takes them from there."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level.upper()),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _date() -> tuple[bytes, bytes]:
    """Return the header that RFC 9110 section 6.6.1 asks for; uvicorn is told to leave it out."""
    return (b"date", _format_date(int(time.time())))


@lru_cache(maxsize=1)
def _format_date(at_s: int) -> bytes:
    return formatdate(at_s, usegmt=True).encode()


class _Exchange:
    """One request as it goes by: passes messages on and remembers how it ended."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope = scope
        self._send = send
        self._header = (b"x-request-id", request_id.encode())
        self.status = 0
        self.is_complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message.get("headers", ())
            # What another server answers keeps its own id, and its date if it has one.
            if PROXIED not in self._scope:
                message["headers"] = [_date(), *headers, self._header]
            elif all(name.lower() != b"date" for name, _ in headers):
                message["headers"] = [_date(), *headers]
        elif message["type"] == "http.response.body":
            self.is_complete = not message.get("more_body", False)
        await self._send(message)


class Observer:
    """The outermost layer: gives a request its id, measures it, and logs what failed."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, logs_requests: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._logs_requests = logs_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        exchange = _Exchange(scope, send, request_id)
        began_s = time.perf_counter()
        try:
            await self._app(scope, receive, exchange.send)
        except Exception as error:
            # The route, not the path: a subject may name a person.
            log.exception("request failed", method=scope["method"], path=_route_of(scope))
            # Cut off in the middle of an answer: only the server can close the connection.
            if exchange.status and not exchange.is_complete:
                raise
            if not exchange.status:
                await _answer(error, scope, receive, exchange.send)
        finally:
            self._note(scope, exchange.status, time.perf_counter() - began_s)

    def _note(self, scope: Scope, status: int, took_s: float) -> None:
        route = _route_of(scope)
        self._metrics.observe(scope["method"], route, status, took_s)
        if self._logs_requests:
            log.debug("request", method=scope["method"], route=route, status=status, took_s=took_s)


def _route_of(scope: Scope) -> str:
    matched = getattr(scope.get("route"), "path", "unmatched")
    route: str = scope.get("ledgergrid.route", matched)
    return route


async def _answer(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    if isinstance(error, LedgerGridError):
        problem = problems.problem_of(error)
    else:
        problem = problems.internal_problem()
    await problems.respond(problem)(scope, receive, send)


def _request_id(scope: Scope) -> str:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return ids.new_record_id()


def uvicorn_options() -> dict[str, Any]:
    """Return what keeps uvicorn from logging in its own way."""
    return {"log_config": None, "access_log": False}
