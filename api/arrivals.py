"""Brings what other threads finished back to the event loop, many at a time.

Waking the loop costs more than a record does, and the pool finishes records in batches:
so what arrives while a wake-up is on its way travels with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Arrivals:
    """Belongs to one event loop. ``_arrived`` is filled by any thread, emptied by the loop."""

    def __init__(self) -> None:
        self._arrived: deque[tuple[asyncio.Future[object], Future[object]]] = deque()
        self._is_waking = False

    def expect(self, done: Future[T]) -> asyncio.Future[T]:
        """Return a future of the running loop that ends as ``done`` does.

        Cancelling it cancels nothing else: a record in the pool is on its way whether
        anyone waits or not.
        """
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()

        def arrive(done: Future[T]) -> None:
            self._arrived.append((waiting, done))  # type: ignore[arg-type]
            # The loop clears the flag before it looks: whoever still sees it set is seen.
            if not self._is_waking:
                self._is_waking = True
                loop.call_soon_threadsafe(self._deliver)

        done.add_done_callback(arrive)
        return waiting

    def _deliver(self) -> None:
        self._is_waking = False
        while self._arrived:
            waiting, done = self._arrived.popleft()
            if waiting.cancelled():
                continue
            error = done.exception()
            if error is None:
                waiting.set_result(done.result())
            else:
                waiting.set_exception(error)
