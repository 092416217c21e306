"""Live readers: how many there may be, and how one thread's wait wakes all of a ledger's.

A reader pulls entries from the database at its own pace, so a slow one costs nothing but
its place. Waiting is what would be dear: a thread for each reader. So the readers of a ledger
share one :class:`Watch`, and a thread waits on behalf of all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import structlog

from ledger_core.errors import BusyError, LedgerGridError
from ledger_core.ledger import Ledger

log = structlog.get_logger("ledgergrid")

_WAIT_S = 1.0
_WATCHING_THREADS = 32
"""More ledgers than this are watched in turns."""


class Watch:
    """One ledger's growth, as seen by this process; ``readers`` share it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._size = 0
        self._grew = asyncio.Event()
        self.readers = 0
        self.task: asyncio.Task[None] | None = None

    async def follow(self, threads: anyio.CapacityLimiter) -> None:
        """Wait in a thread, again and again, and wake the readers whenever the ledger grew."""
        while True:
            try:
                size = await anyio.to_thread.run_sync(
                    self._ledger.wait_for,
                    self._size,
                    _WAIT_S,
                    abandon_on_cancel=True,
                    limiter=threads,
                )
            except LedgerGridError as error:
                # The database is away for a while; readers meet the same error when they read.
                log.warning(
                    "waiting for entries failed", ledger=self._ledger.name, error=str(error)
                )
                await asyncio.sleep(_WAIT_S)
                continue
            if size > self._size:
                self._size = size
                self._grew.set()
                self._grew = asyncio.Event()

    async def wait(self, size: int, timeout_s: float) -> bool:
        """Say whether the ledger is longer than ``size``, after waiting for it if need be."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._size <= size:
                    await self._grew.wait()
        except TimeoutError:
            return False
        return True


class Hub:
    """All live readers of this process."""

    def __init__(self, max_readers: int) -> None:
        self._max_readers = max_readers
        self._threads: anyio.CapacityLimiter | None = None
        self._watches: dict[str, Watch] = {}
        self.readers = 0

    @property
    def watched(self) -> int:
        """How many ledgers are being watched."""
        return len(self._watches)

    def take_seat(self) -> None:
        """Count one reader more; raises :class:`BusyError` if there are too many."""
        if self.readers >= self._max_readers:
            raise BusyError(f"{self._max_readers} live streams are open already", retry_after_s=30)
        self.readers += 1

    def leave_seat(self) -> None:
        self.readers -= 1

    @asynccontextmanager
    async def watch(self, ledger: Ledger) -> AsyncIterator[Watch]:
        """Give the ledger's watch; the first reader starts it, the last one ends it."""
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(_WATCHING_THREADS)
        watch = self._watches.setdefault(ledger.name, Watch(ledger))
        watch.readers += 1
        if watch.task is None:
            watch.task = asyncio.create_task(watch.follow(self._threads))
        try:
            yield watch
        finally:
            watch.readers -= 1
            if watch.readers == 0:
                watch.task.cancel()
                del self._watches[ledger.name]
