"""Who asks, and what they may see.

A write is authorised by its signature and needs no token. A read needs one, unless the
ledger is public. A token has a role and may be bound to one ledger:

* ``reader`` reads, payloads included, and exports;
* ``writer`` is a reader too; the proxy and other services that write for others carry it;
* ``admin`` also makes ledgers and registers keys, and sees everything, as the operator.

A token may speak for a party: a member, or a key. Its holder reads what that party may read
where it stands. Without a party it reads as one of the house in a public or private ledger; in
a consortium it sees what is public, and a local ledger not at all.

The service's own key (``api_key``) is no token. Whoever presents it, and where there is none
everybody on this machine (:func:`find_caller`), reads all of the ledger that calls are captured
in, as its operator does: records, payloads, proofs, exports. It sees no other ledger that is not
public, registers nothing, erases nothing, and changes no limit: that takes a signed record, or a
token with the role admin.

What a token may not see does not exist for it (404); without a token every ledger that is
not public answers 401, whether it exists or not.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from starlette.requests import HTTPConnection

from api.guards import QUERY_KEY, is_loopback
from api.service import Service
from api.settings import Settings
from api.sight import Sight
from ledger_core.errors import AccessError, ForbiddenError, NotFoundError
from ledger_core.ledger import Ledger
from ledger_core.policy.visibility import NOBODY, OPERATOR, Reader, find_reader, sees_ledger

Role = Literal["reader", "writer", "admin"]
_RANKS: dict[str, int] = {"reader": 1, "writer": 2, "admin": 3}
_TOKEN_CHARS = 200
_KEY_HEADERS = ("x-ledgergrid-api-key", "x-agentledger-api-key", "x-agenticledger-api-key")


@dataclass(frozen=True)
class Actor:
    """Whoever sent a request: a token's name and role, or nobody in particular."""

    name: str = ""
    role: Role | None = None
    ledger: str | None = None
    """The only ledger the token counts for, if it is bound to one."""
    party: str | None = None
    """The member or key it reads as, if it speaks for one."""
    reads_all: bool = False
    """Reads all of ``ledger``, as the operator does, and governs nothing."""

    @property
    def is_known(self) -> bool:
        return self.role is not None

    def _counts_for(self, ledger: Ledger) -> bool:
        return self.is_known and self.ledger in (None, ledger.name)

    def sees(self, ledger: Ledger) -> bool:
        """Say whether there is such a ledger for this actor; blocking."""
        if ledger.kind == "public":
            return True
        if not self._counts_for(ledger):
            return False
        if self.role == "admin" or self.reads_all:
            return True
        return sees_ledger(ledger.constitution(), self.party)

    def reader_of(self, ledger: Ledger) -> Reader:
        """Return as whom the actor reads a ledger now; blocking."""
        if not self._counts_for(ledger):
            return NOBODY
        if self.role == "admin" or self.reads_all:
            return OPERATOR
        return find_reader(ledger.constitution(), self.party)


def find_actor(service: Service, request: HTTPConnection) -> Actor:
    """Return who sent the request; blocking. Raises :class:`AccessError` for a wrong token."""
    secret = _bearer_of(request)
    return Actor() if secret is None else find_holder(service, secret)


def find_caller(service: Service, request: HTTPConnection) -> Actor:
    """Return who reads captured calls; blocking. Raises :class:`AccessError` if nobody may.

    The key or a token stands in one of the headers for a key or, as a bearer, in
    ``Authorization``; with the setting ``api_key_in_query`` also in the query. A token reads what
    it reads elsewhere: ask :meth:`Actor.sees` and :meth:`Actor.reader_of` for the ledger. Without
    any, and where the service has no key and listens on the loopback address, the caller is its
    operator.
    """
    secret = _key_of(request)
    if secret is not None:
        return find_holder(service, secret)
    settings = service.settings
    if settings.api_key.get_secret_value() or not is_loopback(settings.host):
        raise AccessError("send the service's key as x-ledgergrid-api-key, or a token as bearer")
    return _reader_of_calls("this machine", settings)


def find_holder(service: Service, secret: str) -> Actor:
    """Return whose key or token this is; blocking. Raises :class:`AccessError` if nobody's."""
    if is_api_key(service.settings, secret):
        return _reader_of_calls("api key", service.settings)
    token = service.tokens.find(secret) if 0 < len(secret) <= _TOKEN_CHARS else None
    if token is None:
        raise AccessError("this token does not count, or no longer")
    return Actor(token.name, token.role, token.ledger, token.party)


def is_api_key(settings: Settings, secret: str) -> bool:
    """Say whether this is the service's key, taking as long for every wrong one."""
    key = settings.api_key.get_secret_value()
    # Digests, because comparing strings of unequal length tells that length.
    alike = hmac.compare_digest(_digest(secret), _digest(key))
    return bool(key) and alike


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _reader_of_calls(name: str, settings: Settings) -> Actor:
    return Actor(name, "reader", settings.capture_ledger, reads_all=True)


def _key_of(request: HTTPConnection) -> str | None:
    for name in _KEY_HEADERS:
        said = request.headers.getlist(name)
        if len(said) > 1:
            raise AccessError(f"send one header {name}")
        if said:
            return said[0]
    secret = _bearer_of(request)
    in_query: str | None = request.scope.get(QUERY_KEY)
    return in_query if secret is None else secret


def _bearer_of(request: HTTPConnection) -> str | None:
    header = request.headers.getlist("authorization")
    if not header:
        return None
    scheme, _, secret = header[0].partition(" ")
    if len(header) > 1 or scheme.lower() != "bearer" or not 0 < len(secret) <= _TOKEN_CHARS:
        raise AccessError("send one header: Authorization: Bearer TOKEN")
    return secret


def open_ledger(service: Service, request: HTTPConnection, name: str) -> tuple[Ledger, Actor]:
    """Return a ledger that whoever asks may see; blocking."""
    actor = find_actor(service, request)
    with suppress(NotFoundError):
        ledger = service.ledgers.get(name)
        if actor.sees(ledger):
            return ledger, actor
    # From here on a ledger that is not there and one that is hidden are the same.
    if not actor.is_known:
        raise AccessError("reading this ledger needs a token")
    raise NotFoundError(f"no ledger named {name[:80]!r}")


def look(service: Service, request: HTTPConnection, name: str) -> Sight:
    """Return a ledger as whoever asks sees it; blocking."""
    ledger, actor = open_ledger(service, request, name)
    return Sight(ledger, actor.reader_of(ledger))


def check_role(actor: Actor, role: Role, ledger: Ledger | None = None) -> None:
    """Raise unless the actor has at least this role, for this ledger or for the service."""
    if actor.role is None:
        raise AccessError(f"this needs a token with the role {role}")
    is_bound_elsewhere = actor.ledger is not None and (
        ledger is None or actor.ledger != ledger.name
    )
    if _RANKS[actor.role] < _RANKS[role] or is_bound_elsewhere:
        raise ForbiddenError(f"this needs a token with the role {role}")
