"""What has just ended, handed to those who report on it; no call waits for any of them.

::

    proxy --publish--> Feed --> a bounded queue for each --> the thread that sends spans
                                                         --> the thread that raises alerts

Publishing is an append to each queue. A queue that is full, in calls or in bytes, loses its
oldest, which is counted, and nobody is woken: readers come by several times a second. Each worker
process reports the calls that it served; who must see those of all follows the log instead.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

CONTENT_BYTES = 64 * 1024 * 1024
"""What one queue holds of what was said in calls, if it holds that at all."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that ended or was refused, as it stands in the log at ``index``.

    ``asked`` and ``answered`` are what was read out of request and response, where anything
    could be; ``content_bytes`` is how large these two were. ``server`` is the provider's host
    and port, if it was asked at all.
    """

    call: Any
    index: int
    asked: Any = None
    answered: Any = None
    content_bytes: int = 0
    server: tuple[str, int] | None = None


class Subscription:
    """One reader's queue; ``put`` by the feed, ``take`` by the reader's own thread."""

    def __init__(self, name: str, size: int, *, wants_content: bool) -> None:
        self.name = name
        self.wants_content = wants_content
        self.dropped = 0
        self._size = size
        self._lock = threading.Lock()
        self._queue: deque[Ended] = deque()
        self._bytes = 0

    def put(self, ended: Ended) -> int:
        """Append; return how many had to go to make room."""
        gone = 0
        with self._lock:
            self._queue.append(ended)
            self._bytes += ended.content_bytes
            while len(self._queue) > self._size or self._bytes > CONTENT_BYTES:
                self._bytes -= self._queue.popleft().content_bytes
                gone += 1
            self.dropped += gone
        return gone

    def take(self, at_most: int) -> list[Ended]:
        """Take the oldest; empty if there is nothing."""
        with self._lock:
            taken = [self._queue.popleft() for _ in range(min(at_most, len(self._queue)))]
            self._bytes -= sum(each.content_bytes for each in taken)
        return taken

    def __len__(self) -> int:
        return len(self._queue)


class Feed:
    """Those who report on calls; ``on_drop`` hears whose queue lost how many."""

    def __init__(self, on_drop: Callable[[str, int], None] = lambda name, count: None) -> None:
        self._on_drop = on_drop
        self._subscriptions: list[Subscription] = []

    def subscribe(self, name: str, size: int, *, wants_content: bool = False) -> Subscription:
        """Give a queue of at most ``size``; done while the service is put together.

        Without ``wants_content`` it gets no ``asked`` and ``answered``.
        """
        subscription = Subscription(name, size, wants_content=wants_content)
        self._subscriptions.append(subscription)
        return subscription

    def publish(self, ended: Ended) -> None:
        """Hand over what ended; returns at once, whatever becomes of it."""
        bare = replace(ended, asked=None, answered=None, content_bytes=0)
        for subscription in self._subscriptions:
            dropped = subscription.put(ended if subscription.wants_content else bare)
            if dropped:
                self._on_drop(subscription.name, dropped)
