"""The copy of an answer that goes on the record: all of it, or its digest and size where not.

What copies hold together is bounded, as is each of them; beyond it only digest and size are kept.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Protocol

ANSWER_BYTES = 64 * 1024 * 1024


class Hash(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class CopyBudget:
    """Counts the bytes of all copies that are being made. Belongs to one event loop."""

    def __init__(self, budget_bytes: int) -> None:
        self._left_bytes = budget_bytes

    def take(self, size: int) -> bool:
        if size > self._left_bytes:
            return False
        self._left_bytes -= size
        return True

    def give_back(self, size: int) -> None:
        self._left_bytes += size


class Copy:
    """Bytes as they came by. ``body`` is None if they were too many."""

    def __init__(self, budget: CopyBudget) -> None:
        self._budget = budget
        self._chunks: list[bytes] = []
        self._held = 0
        self._digest: Hash | None = None
        self.size = 0

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self._digest is None:
            if self.size <= ANSWER_BYTES and self._budget.take(len(chunk)):
                self._held += len(chunk)
                self._chunks.append(chunk)
                return
            self._digest = sha256()
            for each in self._chunks:
                self._digest.update(each)
            self.release()
        self._digest.update(chunk)

    @property
    def is_whole(self) -> bool:
        return self._digest is None

    def body(self) -> bytes:
        """Return what was kept: everything, or nothing."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def sha256(self) -> str:
        digest = self._digest if self._digest is not None else sha256(self.body())
        return digest.hexdigest()

    def release(self) -> None:
        """Give back what was held; done once with the copy."""
        self._budget.give_back(self._held)
        self._held = 0
        self._chunks = []
