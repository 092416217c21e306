"""Access tokens. Only their digests are stored: a token is 32 random bytes, shown once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, cast

from sqlalchemy import Select, insert, select, update

from ledger_core.clock import Clock, now_ms
from ledger_core.errors import ConflictError, NotFoundError
from ledger_core.formats.record import check_party
from ledger_core.ids import encode_base64url
from ledger_core.storage import tables as t
from ledger_core.storage.database import Database

TokenRole = Literal["admin", "writer", "reader"]
_PREFIX = "lgt_"


@dataclass(frozen=True)
class Token:
    """What a token allows; ``ledger`` None means every ledger of the service.

    ``party``: the member, by name, or the key, ``ed25519:…``, that its holder reads as.
    """

    name: str
    role: TokenRole
    ledger: str | None
    created_at: int
    revoked_at: int | None
    party: str | None = None


class Tokens:
    """The service's tokens."""

    def __init__(self, database: Database, clock: Clock = now_ms) -> None:
        self._database = database
        self._clock = clock

    def create(
        self,
        name: str,
        role: TokenRole,
        ledger: str | None = None,
        *,
        party: str | None = None,
    ) -> str:
        """Make a token and return its secret, which is not kept.

        Raises :class:`MalformedError` for a party that is neither a key nor a member's name.
        """
        if party is not None:
            check_party(party)
        secret = _PREFIX + encode_base64url(secrets.token_bytes(32))
        values = {
            "name": name,
            "digest": _digest(secret),
            "role": role,
            "ledger": ledger,
            "created_at": self._clock(),
            "party": party,
        }
        with self._database.write() as tx:
            if tx.execute(select(t.tokens.c.name).where(t.tokens.c.name == name)).first():
                raise ConflictError(f"a token named {name!r} exists", stored=name, received=name)
            tx.execute(insert(t.tokens).values(values))
        return secret

    def find(self, secret: str) -> Token | None:
        """Return the token that this is the secret of, unless it was revoked."""
        query = _query().where(t.tokens.c.digest == _digest(secret))
        with self._database.read() as tx:
            row = tx.execute(query.where(t.tokens.c.revoked_at.is_(None))).one_or_none()
        return _token(tuple(row)) if row else None

    def list(self) -> list[Token]:
        with self._database.read() as tx:
            return [_token(tuple(row)) for row in tx.execute(_query().order_by(t.tokens.c.name))]

    def revoke(self, name: str) -> None:
        """Make a token worthless from now on."""
        c = t.tokens.c
        change = update(t.tokens).where(c.name == name, c.revoked_at.is_(None))
        with self._database.write() as tx:
            if tx.execute(change.values(revoked_at=self._clock())).rowcount == 0:
                raise NotFoundError(f"no token named {name!r} that still counts")


def _query() -> Select[Any]:
    c = t.tokens.c
    return select(c.name, c.role, c.ledger, c.created_at, c.revoked_at, c.party)


def _token(row: tuple[str, str, str | None, int, int | None, str | None]) -> Token:
    return Token(row[0], cast(TokenRole, row[1]), *row[2:])


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
