"""Keys in advance: made and durable before the records come that they will seal.

So an append waits for no key store: it takes keys that lie ready. They are made many at a time,
in one commit, and in the background as soon as few are left. What a process did not use when it
ends is never used: some rows of a key store that seal nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

from ledger_core.errors import LedgerGridError
from ledger_core.keystore.model import DataKey, KeyStore, make_keys

_FEWEST, _MOST = 64, 4_096
"""How many keys are made at a time: more where they are used up within a second."""
_SOON_S = 1.0


class KeySupply:
    """Keys that lie ready in this process. ``_ready`` and ``_amount`` are guarded by ``_lock``."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        # Held while keys are made, so that one thread at a time makes them.
        self._making = threading.Lock()
        self._ready: list[DataKey] = []
        self._amount = _FEWEST
        self._made_at_s = float("-inf")
        self._helper: threading.Thread | None = None

    def take(self, count: int) -> list[DataKey]:
        """Return so many keys, durable and used by nobody."""
        taken = self._take_ready(count)
        while taken is None:
            with self._making:
                if not self._has(count):
                    self._make(count)
            taken = self._take_ready(count)
        return taken

    def give_back(self, keys: Collection[DataKey]) -> None:
        """Return keys that have sealed nothing."""
        with self._lock:
            self._ready.extend(keys)

    def close(self) -> None:
        """Wait until nothing is being made any more."""
        with self._lock:
            helper = self._helper
        if helper is not None:
            helper.join()

    def _has(self, count: int) -> bool:
        with self._lock:
            return len(self._ready) >= count

    def _take_ready(self, count: int) -> list[DataKey] | None:
        with self._lock:
            if len(self._ready) < count:
                return None
            at = len(self._ready) - count
            taken, self._ready[at:] = self._ready[at:], []
            if at < self._amount // 2 and self._helper is None:
                self._helper = threading.Thread(target=self._help, name="keys", daemon=True)
                self._helper.start()
            return taken

    def _help(self) -> None:
        """Make keys in the background. What goes wrong is met again by whoever needs a key."""
        try:
            with self._making:
                if not self._has(self._amount // 2):
                    self._make(0)
        except LedgerGridError:
            return
        finally:
            with self._lock:
                self._helper = None

    def _make(self, least: int) -> None:
        now_s = time.monotonic()
        with self._lock:
            is_soon = now_s < self._made_at_s + _SOON_S
            self._amount = min(self._amount * 2, _MOST) if is_soon else self._amount
            amount = max(self._amount, least)
        keys = make_keys(amount)
        self._store.add(keys)
        with self._lock:
            self._ready.extend(keys)
            self._made_at_s = now_s
