"""A request to the proxy, as it came and as it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from starlette.types import Scope

from api.proxy import paths
from api.proxy.headers import Headers, Identity, is_ours, sort_request
from api.proxy.upstream import Upstream
from ledger_core import ids
from ledger_core.errors import MalformedError
from ledger_core.llm.providers import provider_of
from ledger_core.llm.wire import Wire, wire_of

QUERY_CHARS = 16_000
_NAME_CHARS = 500


@dataclass(slots=True)
class Request:
    """``body`` is read after the rest, once it is known who calls."""

    method: str
    path: str
    query: bytes
    headers: Headers
    onward: list[tuple[str, str]]
    """The headers that go on to the upstream."""
    identity: Identity
    wire: Wire
    media_type: str
    encoding: str
    url: str
    host: str
    port: int
    provider: str
    action_id: str
    began_at_ms: int
    began_s: float
    traceparent: str
    """The agent's own place in a trace; empty if it sent none."""
    reads_back: bool
    """Whether it asks for what a model said before: that is recorded, and costs nothing again."""
    model: str | None = None
    """What is asked, as far as it was read."""
    credential: str | None = None
    body: bytes = b""

    @property
    def session_id(self) -> str:
        """The session that the call is in; its own, if it names none."""
        return self.identity.session_id or self.action_id

    def naming_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that name the call and its session."""
        action_id, session_id = self.action_id.encode(), self.session_id.encode()
        return [
            (b"x-agentledger-action-id", action_id),
            (b"x-agentledger-session-id", session_id),
            (b"x-ledgergrid-action-id", action_id),
            (b"x-ledgergrid-session-id", session_id),
        ]

    def passed_ms(self) -> int:
        return round((time.perf_counter() - self.began_s) * 1000)


def read_request(
    path: str, scope: Scope, upstream: Upstream, secrets: tuple[bytes, ...]
) -> Request:
    """Read all of a request but its body. Raises :class:`MalformedError`."""
    headers: Headers = scope["headers"]
    query: bytes = scope["query_string"]
    _check_address(path, query, secrets)
    wire = _wire_of(path)
    onward, identity, named = sort_request(headers, secrets)
    base = upstream.base(is_anthropics=_is_anthropics(path, wire, named))
    url = f"{base.url}{path}?{query.decode('latin-1')}" if query else base.url + path
    began_ns = time.time_ns()
    return Request(
        method=scope["method"],
        path=path,
        query=query,
        headers=headers,
        onward=onward,
        identity=identity,
        wire=wire,
        media_type=_text(named.get(b"content-type")),
        encoding=_text(named.get(b"content-encoding")),
        url=url,
        host=base.host,
        port=base.port,
        provider=provider_of(wire, base.host),
        action_id=ids.new_record_id(),
        began_at_ms=began_ns // 1_000_000,
        began_s=time.perf_counter(),
        traceparent=_text(named.get(b"traceparent")),
        reads_back=scope["method"] == "GET" and paths.brings_back(path),
    )


@lru_cache(maxsize=1024)
def _wire_of(path: str) -> Wire:
    return wire_of(path) if path in paths.CAPTURED or not path.startswith(paths.PREFIX) else "other"


def _check_address(path: str, query: bytes, secrets: tuple[bytes, ...]) -> None:
    if len(query) > QUERY_CHARS:
        raise MalformedError(f"query is longer than {QUERY_CHARS} characters")
    if is_ours(path.encode(), secrets) or is_ours(query, secrets, is_credential=True):
        raise MalformedError("address holds a credential of ours, which belongs into a header")
    if not query.isascii() or b"\x00" in query:
        raise MalformedError("query holds characters that belong escaped")


def _is_anthropics(path: str, wire: Wire, named: Mapping[bytes, bytes]) -> bool:
    if wire != "other":
        return wire.startswith("anthropic.")
    return path.startswith("/v1/messages") or b"anthropic-version" in named


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")[:_NAME_CHARS]
