"""Entries that this process has just appended, kept until its follower has seen them.

Whoever appended an entry has its record parsed and its payload decoded already: views are made of
that, instead of reading, opening and parsing it again. What is not here is read, so nothing
depends on this; it is bounded, and the oldest entries make room for newer ones.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from ledger_core.viewing import Seen

_MOST: Final = 4_096
_MOST_BYTES: Final = 4 * 1024 * 1024


class FreshEntries:
    """Of all ledgers, by ledger id and index. Thread-safe."""

    def __init__(self, most: int = _MOST, most_bytes: int = _MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._lock = threading.Lock()
        # In the order in which they came: the oldest first.
        self._entries: dict[tuple[int, int], tuple[Seen, int]] = {}
        self._bytes = 0

    def add(self, ledger_id: int, entries: Sequence[Seen]) -> None:
        with self._lock:
            for each in entries:
                self._remove((ledger_id, each.index))
                size = each.viewed_bytes
                self._entries[ledger_id, each.index] = (each, size)
                self._bytes += size
            while len(self._entries) > self._most or self._bytes > self._most_bytes:
                self._remove(next(iter(self._entries)))

    def take(self, ledger_id: int, start: int, most: int) -> list[Seen]:
        """Return, and forget, entries from ``start`` on that follow each other without a gap."""
        taken: list[Seen] = []
        with self._lock:
            while len(taken) < most:
                found = self._remove((ledger_id, start + len(taken)))
                if found is None:
                    return taken
                taken.append(found)
        return taken

    def drop(self, ledger_id: int, end: int) -> None:
        """Forget entries below ``end``: another process has seen them."""
        with self._lock:
            for key in [key for key in self._entries if key[0] == ledger_id and key[1] < end]:
                self._remove(key)

    def _remove(self, key: tuple[int, int]) -> Seen | None:
        found = self._entries.pop(key, None)
        if found is None:
            return None
        self._bytes -= found[1]
        return found[0]
