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
from typing import Generic, TypeVar

from ledger_core.llm.model import Answered, Asked
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_refused import LlmRefused

CONTENT_BYTES = 64 * 1024 * 1024
"""What one queue holds of what was said in calls, if it holds that at all."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that ended or was refused, as it stands in the log at ``index``.

    ``asked`` and ``answered`` are what was read out of request and response, where anything
    could be; ``content_bytes`` is how large these two were. ``server`` is the provider's host
    and port, if it was asked at all. ``over_budget`` names budgets that were used up where the
    call was let through all the same: which, used and limit in micro-USD. ``traceparent`` is the
    agent's own place in a trace, as it sent it.
    """

    call: LlmCall2 | LlmRefused
    index: int
    asked: Asked | None = None
    answered: Answered | None = None
    content_bytes: int = 0
    server: tuple[str, int] | None = None
    over_budget: tuple[tuple[str, int, int], ...] = ()
    traceparent: str = ""


class Backlog(Generic[Item]):
    """A queue bounded in items and bytes, between threads; what is full loses its oldest."""

    def __init__(self, size: int, max_bytes: int = CONTENT_BYTES) -> None:
        self.dropped = 0
        self._size = size
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._queue: deque[tuple[Item, int]] = deque()
        self._bytes = 0

    def put(self, item: Item, weight_bytes: int = 0) -> int:
        """Append; return how many had to go to make room."""
        gone = 0
        with self._lock:
            self._queue.append((item, weight_bytes))
            self._bytes += weight_bytes
            while len(self._queue) > self._size or self._bytes > self._max_bytes:
                self._bytes -= self._queue.popleft()[1]
                gone += 1
            self.dropped += gone
        return gone

    def take(self, at_most: int, at_most_bytes: int | None = None) -> list[Item]:
        """Take the oldest; empty if there is nothing. One is taken however large it is."""
        taken: list[Item] = []
        weight = 0
        with self._lock:
            while self._queue and len(taken) < at_most:
                weight += self._queue[0][1]
                if at_most_bytes is not None and taken and weight > at_most_bytes:
                    weight -= self._queue[0][1]
                    break
                taken.append(self._queue.popleft()[0])
            self._bytes -= weight
        return taken

    def __len__(self) -> int:
        return len(self._queue)


class Subscription(Backlog[Ended]):
    """One reader's queue; ``put`` by the feed, ``take`` by the reader's own thread."""

    def __init__(self, name: str, size: int, *, wants_content: bool) -> None:
        super().__init__(size)
        self.name = name
        self.wants_content = wants_content


class Feed:
    """Those who report on calls.

    ``on_ended`` hears of every call, at once; ``on_drop`` of whose queue lost how many.
    """

    def __init__(
        self,
        on_ended: Callable[[Ended], None] = lambda ended: None,
        on_drop: Callable[[str, int], None] = lambda name, count: None,
    ) -> None:
        self._on_ended = on_ended
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
        self._on_ended(ended)
        if not self._subscriptions:
            return
        bare = replace(ended, asked=None, answered=None, content_bytes=0)
        for subscription in self._subscriptions:
            kept = ended if subscription.wants_content else bare
            dropped = subscription.put(kept, kept.content_bytes)
            if dropped:
                self._on_drop(subscription.name, dropped)
