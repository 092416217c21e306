"""Who asks, and what they may see.

A write is authorised by its signature and needs no token. A read needs one, unless the
ledger is public. A token has a role and may be bound to one ledger:

* ``reader`` reads, payloads included, and exports;
* ``writer`` is a reader too; the proxy and other services that write for others carry it;
* ``admin`` also makes ledgers and registers keys.

What a token may not see does not exist for it (404); without a token every ledger that is
not public answers 401, whether it exists or not.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request

from api.service import Service
from ledger_core.errors import AccessError, ForbiddenError, NotFoundError
from ledger_core.ledger import Ledger
from ledger_core.records.model import Audience

Role = Literal["reader", "writer", "admin"]
_RANKS: dict[str, int] = {"reader": 1, "writer": 2, "admin": 3}
_TOKEN_CHARS = 200


@dataclass(frozen=True)
class Actor:
    """Whoever sent a request: a token's name and role, or nobody in particular."""

    name: str = ""
    role: Role | None = None
    ledger: str | None = None
    """The only ledger the token counts for, if it is bound to one."""

    @property
    def is_known(self) -> bool:
        return self.role is not None

    def sees(self, ledger: Ledger) -> bool:
        return ledger.kind == "public" or (self.is_known and self.ledger in (None, ledger.name))

    def audience_in(self, ledger: Ledger) -> Audience:
        """Say as whom the actor reads payloads: those for everyone, for members, or all."""
        if self.role is None or self.ledger not in (None, ledger.name):
            return "public"
        return "operator" if self.role == "admin" else "members"


def find_actor(service: Service, request: Request) -> Actor:
    """Return who sent the request; blocking. Raises :class:`AccessError` for a wrong token."""
    header = request.headers.getlist("authorization")
    if not header:
        return Actor()
    scheme, _, secret = header[0].partition(" ")
    if len(header) > 1 or scheme.lower() != "bearer" or not 0 < len(secret) <= _TOKEN_CHARS:
        raise AccessError("send one header: Authorization: Bearer TOKEN")
    token = service.tokens.find(secret)
    if token is None:
        raise AccessError("this token does not count, or no longer")
    return Actor(token.name, token.role, token.ledger)


def open_ledger(service: Service, request: Request, name: str) -> tuple[Ledger, Actor]:
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


def check_role(actor: Actor, role: Role, ledger: Ledger | None = None) -> None:
    """Raise unless the actor has at least this role, for this ledger or for the service."""
    if actor.role is None:
        raise AccessError(f"this needs a token with the role {role}")
    is_bound_elsewhere = actor.ledger is not None and (
        ledger is None or actor.ledger != ledger.name
    )
    if _RANKS[actor.role] < _RANKS[role] or is_bound_elsewhere:
        raise ForbiddenError(f"this needs a token with the role {role}")
