"""What all calls of a process share: who writes them down, and which rules are in force.

``rules()`` and what it returns are asked from the pool's threads, the rest belongs to the loop.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

import anyio
import msgspec

from api.capture_settings import listed
from api.ferry import Ferry
from api.proxy.answers import Refusal
from api.proxy.conversations import Conversations
from api.proxy.copying import CopyBudget
from api.proxy.outbox import Delivery, Outbox
from api.proxy.pricing import Pricing
from api.proxy.rules import Rules, limits_of
from api.proxy.upstream import Upstream
from api.service import Service
from api.settings import PREFIX, Settings
from ledger_core.capturing import Scribe, open_scribe
from ledger_core.errors import LedgerGridError, MalformedError, SettingsError, StorageError
from ledger_core.llm import codings, patterns
from ledger_core.llm.redactor import Redactor

_RULES_S = 0.5
"""How long rules may have changed without this process having noticed."""


class Kept(NamedTuple):
    """What is stored of a body: in which encoding, with so many places made unreadable."""

    body: bytes | None
    encoding: str
    redactions: int


class Desk:
    """One for each process."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.settings = service.settings
        self.ferry = Ferry(service.pool)
        self.upstream = Upstream(service.settings)
        self.pricing = Pricing(service.settings)
        self._redactor = read_redactor(service.settings)
        self.outbox = Outbox(service.settings.data / "outbox", service.settings.outbox_bytes)
        self.delivery = Delivery(self.outbox, self.ferry, self.scribe)
        self.conversations = Conversations()
        self.copies = CopyBudget(service.settings.max_bodies_bytes)
        self._own_limits = limits_of(service.settings)
        self._scribe: Scribe | None = None
        self._lock = threading.Lock()
        self._rules = Rules(self._own_limits)
        self._rules_until_s = 0.0

    async def scribe(self) -> Scribe:
        """Return what writes calls down; the first call founds their ledger, if there is none."""
        if self._scribe is None:
            name = self.settings.capture_ledger
            self._scribe = await anyio.to_thread.run_sync(open_scribe, self.service.ledgers, name)
        return self._scribe

    def rules(self, scribe: Scribe) -> Rules:
        """Return the rules in force; blocking."""
        if time.monotonic() < self._rules_until_s:
            return self._rules
        with self._lock:
            if time.monotonic() >= self._rules_until_s:
                self._refresh(scribe)
        return self._rules

    def _refresh(self, scribe: Scribe) -> None:
        try:
            capture = scribe.ledger.constitution().capture
        except StorageError:
            # A call that may pass all the same is judged by what was known last.
            if self.settings.capture_unavailable != "queue":
                raise
        else:
            self._rules = Rules(capture.limits.over(self._own_limits))
        self._rules_until_s = time.monotonic() + _RULES_S

    def keep(self, body: bytes, media_type: str, encoding: str) -> Kept:
        """Return what is stored of a body; blocking.

        Where a redactor is to look and cannot, because what it gets is no text, nothing is stored.
        """
        if self._redactor is None:
            return Kept(body, encoding, 0)
        try:
            plain = codings.decode(body, encoding)
            redacted, count = self._redactor.redact(plain, media_type)
        except MalformedError:
            return Kept(None, encoding, 1)
        return Kept(redacted, "", count) if count else Kept(body, encoding, 0)

    def keep_text(self, text: str | None) -> str | None:
        """Return what is stored of what an upstream says of an error."""
        if text is None or self._redactor is None:
            return text
        return self._redactor.redact_text(text)[0]


def read_redactor(settings: Settings) -> Redactor | None:
    """Read what is to be made unreadable; :class:`SettingsError` for what cannot be looked for."""
    kinds: set[str] = set(listed(settings.redact))
    if "all" in kinds:
        kinds = kinds - {"all"} | patterns.KINDS.keys()
    own: tuple[str, ...] = ()
    if settings.redact_patterns:
        try:
            own = msgspec.json.decode(settings.redact_patterns, type=tuple[str, ...])
        except msgspec.DecodeError:
            raise SettingsError(f"{PREFIX}REDACT_PATTERNS: a JSON list of patterns") from None
    return Redactor(kinds, own) if kinds or own else None


def unavailable(error: LedgerGridError) -> Refusal:
    """Return what becomes of a call that cannot be written down."""
    message = f"the call cannot be put on record now ({error.code}), so it is not made"
    return Refusal("ledger_unavailable", message, 503, retry_after_s=1)
