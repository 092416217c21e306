"""One request and its answer while they travel: bytes as they came, and when."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from ledger_core import clock, limits
from ledger_core.records.types.llm_call import Ended
from ledgergrid.integrations.labels import Labels

KEPT_BYTES: Final = limits.PAYLOAD_PART_BYTES
"""Most that is kept of an answer; what goes beyond is counted and hashed, and not kept."""


@dataclass(frozen=True)
class Request:
    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """With the provider's key: they are looked at, and never recorded or shown."""
    body: bytes = field(repr=False)
    provider: str | None = None
    """Who is asked, where the URL does not tell."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


@dataclass
class Exchange:
    """Begins when it is made; ends once, by :meth:`end`, which hands it on."""

    request: Request
    labels: Labels
    hand_on: Callable[[Exchange], None]
    began_at_ms: int = field(default_factory=clock.now_ms)
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray, repr=False)
    body_bytes: int = 0
    ended: Ended = "complete"
    error: BaseException | None = None
    latency_ms: int = 0
    first_token_ms: int | None = None

    def __post_init__(self) -> None:
        self._began = time.perf_counter()
        self._digest = hashlib.sha256()
        self._is_over = False

    def _elapsed_ms(self) -> int:
        return round((time.perf_counter() - self._began) * 1000)

    def answer(self, status: int, headers: Mapping[str, str]) -> None:
        """Note the head of the answer."""
        self.status, self.headers = status, headers

    def add(self, chunk: bytes) -> None:
        """Note some of the answer's body, encoded as it came."""
        if self.first_token_ms is None:
            self.first_token_ms = self._elapsed_ms()
        self._digest.update(chunk)
        self.body_bytes += len(chunk)
        if self.is_whole:
            self.body += chunk
        else:
            self.body.clear()

    @property
    def is_whole(self) -> bool:
        """Say whether all that came of the answer is kept."""
        return self.body_bytes <= KEPT_BYTES

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def end(self, ended: Ended, error: BaseException | None = None) -> None:
        """Say how it ended; only the first time counts."""
        if self._is_over:
            return
        self._is_over = True
        self.ended, self.error, self.latency_ms = ended, error, self._elapsed_ms()
        self.hand_on(self)
