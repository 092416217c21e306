"""The outer guard: which requests are let in at all, and what every answer of ours tells a browser.

A service on the loopback address is reached by everything that runs on the machine, and a browser
runs what strangers wrote. So, before anything else looks at a request:

* **Host** must name this service: a loopback name or address, the configured host, one of
  ``allowed_hosts`` (421). A page whose own name was rebound to 127.0.0.1 sends its own name.
  Where the service listens on every address, an address is as good as the configured host:
  rebinding needs a name.
* **Origin**: a request that changes something, and a WebSocket, comes from a page of this very
  host, from one whose host is in ``allowed_hosts``, or from no page at all (403).
  ``Sec-Fetch-Site`` stands in where a browser leaves Origin out. SDKs and curl send neither.
* **Content-Type**: our own API takes JSON (415), which no form and no plain request of a page can
  send. Whoever names no type passes, unless it is a browser.
* **Exposure**: without an ``api_key`` nobody is served on an address that is not loopback (403),
  however the service was started. The address is the socket's own.

Reads of public ledgers are let in from everywhere. Elsewhere a page of another origin may lead its
visitor to a page of ours, and nothing else: not so much as make us do the work of an export (403).
Browsers say so themselves (``Sec-Fetch-Site``). Without CORS headers it cannot look at any answer,
save at a public log's files, which every browser may audit.

Nothing is judged by ``Forwarded`` or ``X-Forwarded-*``: anybody can send them.

What the proxy relays is let out untouched. It says which answers these are: it sets
``scope[PROXIED] = True`` before it sends the first byte of one.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.problems import Problem
from api.settings import Settings
from ledger_core.errors import SettingsError

PROXIED = "ledgergrid.proxied"
"""In the scope of a request whose answer is another server's: not a header is added to it."""
QUERY_KEY = "ledgergrid.api_key"
"""In the scope: the key that stood in the query, which it was taken out of."""
PROXY_PREFIX = "/v1/"

_OWN_APIS = ("/api/", "/mcp")
_LOG_FILES = "/log/"
_READ_FROM_EVERYWHERE = (_LOG_FILES, "/api/v1/ledgers", "/witness/", "/healthz", "/readyz")
_NO_PAGES = ("/api/", "/metrics", PROXY_PREFIX)
_READING = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_JSON = re.compile(
    rb"application/(?:json|x-ndjson|[a-z0-9.-]+\+json)[ \t]*(?:;.*)?", re.IGNORECASE | re.DOTALL
)
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,253}))(?::([0-9]{1,5}))?")
_JUDGED = frozenset(
    (b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest",
     b"content-type", b"content-length", b"transfer-encoding")
)  # fmt: skip
_VISIT = (b"navigate", b"document")
_LOOPBACK_NAME = "localhost"

CONTENT_SECURITY = (
    b"default-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; "
    b"form-action 'self'; frame-ancestors 'none'"
)
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


# --- hosts -----------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Say whether a name or address leads to this machine whoever resolves it."""
    if host.lower() == _LOOPBACK_NAME:
        return True
    address = _address_of(host)
    return address is not None and address.is_loopback


def _address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def check_exposure(settings: Settings) -> None:
    """Raise unless the service is on the loopback address or has a key."""
    if is_loopback(settings.host) or settings.api_key.get_secret_value():
        return
    where = settings.host or "every address"
    raise SettingsError(
        f"listening on {where} lets others in: set LEDGERGRID_API_KEY to a long random secret, "
        "or listen on 127.0.0.1"
    )


class Hosts:
    """The hosts that this service goes by, and those whose pages may write to it."""

    def __init__(self, settings: Settings) -> None:
        own = _address_of(settings.host)
        self._is_everywhere = not settings.host or (own is not None and own.is_unspecified)
        self._own = settings.host.lower()
        listed = settings.allowed_host_names
        self._names = frozenset(name for name in listed if not name.startswith("*."))
        self._endings = tuple(name[1:] for name in listed if name.startswith("*."))
        self.knows_authority = functools.lru_cache(maxsize=256)(self._knows_authority)

    def _knows_authority(self, authority: bytes) -> bool:
        name = name_in(authority)
        if name is None:
            return False
        if is_loopback(name) or name == self._own or self.lists(name):
            return True
        return self._is_everywhere and _address_of(name) is not None

    def lists(self, name: str) -> bool:
        return name in self._names or name.endswith(self._endings)

    def lets_in(self, origin: bytes, authority: bytes) -> bool:
        """Say whether a page of this origin may write to the host it asked for."""
        _, found, asked = origin.partition(b"://")
        if not found:
            return False  # "null": a file, a sandbox, or hidden
        if asked.lower() == authority.lower():
            return True
        name = name_in(asked)
        return name is not None and self.lists(name)


def name_in(authority: bytes) -> str | None:
    """Return the host of ``host[:port]`` without brackets and final dot, if it is one."""
    matched = _AUTHORITY.fullmatch(authority.decode("latin-1").lower())
    if matched is None:
        return None
    return matched[1] or matched[2].removesuffix(".") or None


# --- the guard -------------------------------------------------------------------


class Guard:
    """Refuses what the module's docstring says, and dresses the answers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = Hosts(settings)
        self._has_key = bool(settings.api_key.get_secret_value())
        self._takes_key_in_query = settings.api_key_in_query

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        problem = self._judge(scope)
        if kind == "http" and not (problem is None and scope["path"].startswith(PROXY_PREFIX)):
            send = _dressing(scope, send)
        if problem is not None:
            await _refuse(problem, scope, receive, send)
            return
        if self._takes_key_in_query and b"api_key=" in scope["query_string"]:
            _take_query_key(scope)
        await self._app(scope, receive, send)

    def _judge(self, scope: Scope) -> Problem | None:
        if not self._has_key and not _is_on_loopback(scope):
            return problems.exposed_problem()
        said: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in _JUDGED:
                if name in said and name == b"host":
                    return problems.misdirected_problem("Host was sent twice")
                if name in said and name in (b"origin", b"sec-fetch-site"):
                    return problems.cross_site_problem()
                said[name] = value
        host = said.get(b"host", b"")
        if not self._hosts.knows_authority(host):
            return problems.misdirected_problem(
                "this service does not go by that Host; its operator can list it in "
                "LEDGERGRID_ALLOWED_HOSTS"
            )
        is_socket = scope["type"] == "websocket"
        if not is_socket and scope["method"] in _READING:
            return None if _may_read(said, scope["path"]) else problems.cross_site_problem()
        if not self._may_write(said, host):
            return problems.cross_site_problem()
        if not is_socket and scope["path"].startswith(_OWN_APIS) and not _is_json(said):
            return problems.media_type_problem()
        return None

    def _may_write(self, said: dict[bytes, bytes], host: bytes) -> bool:
        origin = said.get(b"origin")
        if origin is not None:
            return self._hosts.lets_in(origin, host)
        return said.get(b"sec-fetch-site", b"none").lower() in (b"none", b"same-origin")


def _may_read(said: dict[bytes, bytes], path: str) -> bool:
    if said.get(b"sec-fetch-site", b"none").lower() in (b"none", b"same-origin"):
        return True
    if path.startswith(_READ_FROM_EVERYWHERE):
        return True
    is_visit = (said.get(b"sec-fetch-mode"), said.get(b"sec-fetch-dest")) == _VISIT
    return is_visit and not path.startswith(_NO_PAGES)


def _is_on_loopback(scope: Scope) -> bool:
    server = scope.get("server")
    # A Unix socket has no port: the file system says who may open it.
    return server is None or server[1] is None or is_loopback(server[0])


def _is_json(said: dict[bytes, bytes]) -> bool:
    if b"transfer-encoding" not in said and said.get(b"content-length", b"0") == b"0":
        return True
    media_type = said.get(b"content-type")
    if media_type is None:
        return b"origin" not in said and b"sec-fetch-site" not in said
    return media_type == b"application/json" or _JSON.fullmatch(media_type) is not None


def _take_query_key(scope: Scope) -> None:
    """Move the key out of the query, before anything can log it or pass it on."""
    if scope["path"].startswith(PROXY_PREFIX):
        return
    kept = []
    for pair in scope["query_string"].split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"api_key":
            scope.setdefault(QUERY_KEY, unquote_plus(value.decode("latin-1")))
        else:
            kept.append(pair)
    scope["query_string"] = b"&".join(kept)


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        scope.setdefault("ledgergrid.route", "refused")
        await problems.respond(problem)(scope, receive, send)
    else:
        # Before the handshake this is answered with 403.
        await send({"type": "websocket.close", "code": 1008, "reason": problem.code})


def _dressing(scope: Scope, send: Send) -> Send:
    async def dress(message: Message) -> None:
        if message["type"] == "http.response.start" and PROXIED not in scope:
            headers = dress_headers(message.get("headers", ()))
            if _is_for_all(scope):
                headers.append((b"access-control-allow-origin", b"*"))
            message["headers"] = headers
        await send(message)

    return dress


def _is_for_all(scope: Scope) -> bool:
    """Say whether this asks for a log's files as anybody may; what it gets is public then."""
    if not scope["path"].startswith(_LOG_FILES) or scope["method"] not in ("GET", "HEAD"):
        return False
    return all(name != b"authorization" for name, _ in scope["headers"])


def dress_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Add what a browser needs to be told; what the answer says itself stands."""
    dressed = list(headers)
    said = {name.lower(): value for name, value in dressed}
    dressed += [each for each in _ALWAYS if each[0] not in said]
    is_page = said.get(b"content-type", b"").lower().startswith((b"text/html", b"image/svg"))
    if is_page and b"content-security-policy" not in said:
        dressed.append((b"content-security-policy", CONTENT_SECURITY))
    return dressed
