"""The proxy in front of the service: takes what is below ``/v1/``, and passes everything else on.

::

    POST, PUT, PATCH, DELETE    a call: on the record before it goes out (call.py)
    GET, HEAD, OPTIONS          passes, unrecorded: no prompt is in it
    GET of what a model said    is a call: an answer in the background, the results of a batch
    with a body                 is a call, whatever its method
    WebSocket                   501: what is said on one could not be recorded
"""

from __future__ import annotations

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.bodies import ClientGoneError
from api.capture_settings import listed
from api.guards import PROXIED
from api.proxy import answers, paths
from api.proxy.answers import Refusal
from api.proxy.call import BrokenOffError, Call
from api.proxy.credentials import Credentials
from api.proxy.desk import Desk, unavailable
from api.proxy.passing import pass_through
from api.proxy.recording import Recording
from api.proxy.refusals import Refusals
from api.proxy.request import Request, read_request
from api.service import Service
from ledger_core import limits
from ledger_core.errors import BusyError, LedgerGridError, MalformedError, TooLargeError

log = structlog.get_logger("ledgergrid")

_RECORDED = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PASSING = frozenset({"GET", "HEAD", "OPTIONS"})
_UPGRADE = "websocket upgrades are not proxied: what is said on them could not be recorded"
_ANY_OTHER = "/v1/{path}"
_NEVER = (b"/api/", b"/log/")
"""What most of the service's own requests begin with, and none of the proxy's."""


class Proxy:
    """Belongs to one event loop."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._paths = paths.Scope(listed(service.settings.extra_paths))
        self._desk = Desk(service)
        self._credentials = Credentials(service)
        self._refusals = Refusals(self._desk)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, self._closing(receive), send)
            return
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        if raw.startswith(_NEVER):
            await self._app(scope, receive, send)
            return
        try:
            path = paths.canonical(raw)
        except MalformedError as error:
            if kind != "http" or _is_own(raw) or not paths.may_mean_proxied(raw):
                await self._app(scope, receive, send)
            else:
                scope["ledgergrid.route"] = _ANY_OTHER
                await _answer(send, "other", Refusal("invalid_request_error", str(error), 400))
            return
        if not self._paths.takes(path):
            await self._app(scope, receive, send)
        elif kind == "http":
            await self._serve(path, scope, receive, send)
        else:
            await _refuse_socket(scope, send)

    def _closing(self, receive: Receive) -> Receive:
        """Close what the proxy holds before the service closes what that stands on."""

        async def received() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._desk.delivery.start()
            elif message["type"] == "lifespan.shutdown":
                await self._refusals.close()
                await self._desk.delivery.close()
                await self._desk.upstream.close()
            return message

        return received

    async def _serve(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        scope["ledgergrid.route"] = path if path in paths.CAPTURED else _ANY_OTHER
        secrets = self._credentials.secrets
        try:
            request = read_request(path, scope, self._desk.upstream, secrets)
        except MalformedError as error:
            await _answer(send, "other", Refusal("invalid_request_error", str(error), 400))
            return
        scope[PROXIED] = True
        try:
            await self._handle(request, scope, receive, send)
        except Refusal as refusal:
            await self._refuse(request, refusal, send)
        except (ClientGoneError, BrokenOffError):
            return
        finally:
            self._service.intake.release(len(request.body))

    async def _handle(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request.credential = await self._credentials.check(request.identity)
        except LedgerGridError as error:
            raise unavailable(error) from None
        if request.method not in _RECORDED and request.method not in _PASSING:
            raise Refusal("method_not_allowed", f"{request.method[:20]} is not proxied", 501)
        try:
            request.body = await self._service.intake.read(
                scope, receive, limits.PAYLOAD_PART_BYTES, any_encoding=True
            )
        except TooLargeError as error:
            raise Refusal("too_large", str(error), 413) from None
        except BusyError as error:
            raise Refusal("ledger_unavailable", str(error), 503, retry_after_s=1) from None
        except MalformedError as error:
            raise Refusal("invalid_request_error", str(error), 408) from None
        if request.method in _PASSING and not request.body and not request.reads_back:
            await pass_through(self._desk.upstream, request, receive, send)
            return
        try:
            scribe = await self._desk.scribe()
        except LedgerGridError as error:
            raise unavailable(error) from None
        await Call(self._desk, request, Recording(self._desk, scribe, request)).run(receive, send)

    async def _refuse(self, request: Request, refusal: Refusal, send: Send) -> None:
        await self._refusals.record(request, refusal)
        await _answer(send, request.wire, refusal, request)


async def _answer(send: Send, wire: str, refusal: Refusal, request: Request | None = None) -> None:
    body = answers.format_error(wire, refusal.reason, refusal.message)
    headers = answers.refusal_headers(refusal)
    if request is not None:
        headers += request.naming_headers()
    await answers.send_json(send, refusal.status, body, headers)


def _is_own(raw: bytes) -> bool:
    """Say whether a path is spelled as one of the service's own."""
    return raw[1:].split(b"/", 1)[0].decode("latin-1") in paths.OWN


async def _refuse_socket(scope: Scope, send: Send) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    body = answers.format_error("other", "not_implemented", _UPGRADE)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": 501, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
