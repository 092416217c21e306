"""The last request of each conversation, so that the next one is stored as its difference.

A conversation is what one session, user and agent says at one path: nobody's request is stored
as the difference to another's. What is remembered is bounded; who is forgotten is stored whole.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from api.proxy.request import Request
from ledger_core.llm import frames
from ledger_core.llm.frames import Base

HELD_BYTES = 64 * 1024 * 1024
_SMALLEST_BYTES = 512
_LARGEST_BYTES = 4 * 1024 * 1024

_Key = tuple[str, str | None, str | None, str]


@dataclass
class Place:
    """A request that is about to be stored: as ``frame``, or whole if that is None."""

    conversations: Conversations
    key: _Key
    whole: bytes
    frame: bytes | None
    depth: int
    media_type: str = frames.MEDIA_TYPE

    def settle(self, leaf_hash: bytes) -> None:
        """Have the next request of the conversation stored as the difference to this one."""
        self.conversations.put(self.key, Base(leaf_hash, self.depth, self.whole))


class Conversations:
    """Thread-safe; ``_last`` and ``_bytes`` are guarded by ``_lock``."""

    def __init__(self, most_bytes: int = HELD_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._last: OrderedDict[_Key, Base] = OrderedDict()
        self._bytes = 0

    def place(self, request: Request, user_id: str | None, body: bytes) -> Place | None:
        """Return how to store a request; None for one that no other should rest on."""
        session_id = request.identity.session_id
        if session_id is None or not _SMALLEST_BYTES <= len(body) <= _LARGEST_BYTES:
            return None
        key = (session_id, user_id, request.identity.agent_name, request.path)
        with self._lock:
            base = self._last.get(key)
        frame = frames.encode(base, body) if base is not None else None
        depth = base.depth + 1 if base is not None and frame is not None else 0
        return Place(self, key, body, frame, depth)

    def put(self, key: _Key, base: Base) -> None:
        with self._lock:
            old = self._last.pop(key, None)
            self._bytes += len(base.whole) - (len(old.whole) if old is not None else 0)
            self._last[key] = base
            while self._bytes > self._most_bytes:
                _, gone = self._last.popitem(last=False)
                self._bytes -= len(gone.whole)
