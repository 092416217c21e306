"""Who calls: a LedgerGrid token, presented beside the provider's own key.

Agents send it as ``x-ledgergrid-key``; limits bind to its name. It is needed wherever others than
this machine may reach the service, and wherever the service has a key: that key, in
``x-agentledger-api-key`` or ``x-ledgergrid-api-key``, is as good, and has no name.

What is found is remembered for a few seconds, so a revoked token counts no longer than that.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from hashlib import sha256

import anyio

from api.actors import is_api_key
from api.guards import is_loopback
from api.proxy.answers import Refusal
from api.proxy.headers import Identity
from api.service import Service
from ledger_core.storage.tokens import Token

REMEMBERED_S = 5.0
_REMEMBERED = 10_000
_TOKEN_CHARS = 200
_MAY_CALL = frozenset({"admin", "writer"})


class Credentials:
    """Belongs to one event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        settings = service.settings
        self._key = settings.api_key.get_secret_value().encode()
        self._is_needed = bool(self._key) or not is_loopback(settings.host)
        self._found: OrderedDict[bytes, tuple[float, Token | None]] = OrderedDict()

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What must not reach a provider, wherever a client put it."""
        return (self._key,) if self._key else ()

    async def check(self, identity: Identity) -> str | None:
        """Return the name of the token presented, None for none; :class:`Refusal` if one must."""
        secret = identity.token
        if secret is None and identity.api_key is not None and identity.api_key.startswith("lgt_"):
            secret = identity.api_key  # As the API for reading takes it.
        if secret is not None:
            token = await self._find(secret)
            if token is None:
                raise _unauthorised("this is no LedgerGrid token that counts")
            if token.role not in _MAY_CALL or token.ledger not in (None, self._ledger):
                raise _unauthorised(f"token {token.name} may not call models here")
            return token.name
        if not self._is_needed:
            return None
        if identity.api_key is not None and is_api_key(self._service.settings, identity.api_key):
            return None
        raise _unauthorised("send a LedgerGrid token as x-ledgergrid-key")

    @property
    def _ledger(self) -> str:
        return self._service.settings.capture_ledger

    async def _find(self, secret: str) -> Token | None:
        if len(secret) > _TOKEN_CHARS:
            return None
        # The digest, so that no memory of ours holds the token itself.
        key = sha256(secret.encode()).digest()
        known = self._found.get(key)
        now_s = time.monotonic()
        if known is not None and known[0] > now_s:
            return known[1]
        token = await anyio.to_thread.run_sync(self._service.tokens.find, secret)
        self._found[key] = (now_s + REMEMBERED_S, token)
        self._found.move_to_end(key)
        if len(self._found) > _REMEMBERED:
            self._found.popitem(last=False)
        return token


def _unauthorised(message: str) -> Refusal:
    return Refusal("unauthorised", message, 401)
