"""The background worker: gathers what is enqueued while the batch before it travels.

Nobody waits for company: a lone record goes out at once, and under load batches grow by
themselves. What is enqueued is in memory until its batch is put into the outbox.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from ledger_core.errors import BusyError, LedgerGridError, SettingsError
from ledgergrid.delivery import Outcome
from ledgergrid.receipts import Receipt
from ledgergrid.sealing import Sealed
from ledgergrid.session import BATCH_BYTES, BATCH_RECORDS

F = TypeVar("F")

QUEUE_RECORDS = 10_000
QUEUE_BYTES = 128 * 1024 * 1024


class Queue(Generic[F]):
    """Sealed records and who waits for each; bounded in number and bytes. Not locked itself."""

    def __init__(self) -> None:
        self._items: deque[tuple[Sealed, F]] = deque()
        self._bytes = 0
        self.is_sending = False
        self.is_closed = False

    def is_idle(self) -> bool:
        return not self._items and not self.is_sending

    def is_due(self) -> bool:
        """Say whether the worker has something to do: send, or end."""
        return bool(self._items) or self.is_closed

    def may_end_wait(self, sealed: Sealed) -> bool:
        """Say whether there is room, or never will be."""
        return self.is_closed or (
            len(self._items) < QUEUE_RECORDS and self._bytes + len(sealed.line) <= QUEUE_BYTES
        )

    def add(self, sealed: Sealed, waiter: F) -> None:
        if self.is_closed:
            raise SettingsError("this ledger was closed; nothing more can be enqueued")
        self._items.append((sealed, waiter))
        self._bytes += len(sealed.line)

    def take(self) -> list[tuple[Sealed, F]]:
        """Take the next batch; empty only when closed and done."""
        batch: list[tuple[Sealed, F]] = []
        size_bytes = 0
        while self._items and len(batch) < BATCH_RECORDS:
            size_bytes += len(self._items[0][0].line) + 1
            if batch and size_bytes > BATCH_BYTES:
                break
            batch.append(self._items.popleft())
            self._bytes -= len(batch[-1][0].line)
        self.is_sending = bool(batch)
        return batch


def _full() -> BusyError:
    return BusyError("the queue is full: records come faster than the ledger takes them")


class Worker:
    """A thread that sends. ``_queue`` is owned by ``_changed``."""

    def __init__(self, send: Callable[[list[Sealed], bool], Sequence[Outcome]]) -> None:
        self._send = send
        self._queue: Queue[Future[Receipt]] = Queue()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, sealed: Sealed, patience_s: float) -> Future[Receipt]:
        """Queue a record; wait for room if need be."""
        future: Future[Receipt] = Future()
        future.set_running_or_notify_cancel()  # What is signed and queued is not taken back.
        with self._changed:
            if not self._changed.wait_for(lambda: self._queue.may_end_wait(sealed), patience_s):
                raise _full()
            self._queue.add(sealed, future)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledgergrid", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return future

    def drain(self) -> None:
        """Wait until everything queued has an outcome."""
        with self._changed:
            self._changed.wait_for(self._queue.is_idle)

    def close(self) -> None:
        """Send what is queued, then end."""
        with self._changed:
            self._queue.is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._queue.is_sending = False
                self._changed.notify_all()
                self._changed.wait_for(self._queue.is_due)
                batch, is_closing = self._queue.take(), self._queue.is_closed
            if not batch:
                return
            try:
                outcomes = self._send([sealed for sealed, _ in batch], is_closing)
            except BaseException as error:  # noqa: BLE001 (raised where its future is asked)
                for _, future in batch:
                    future.set_exception(error)
                continue
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, LedgerGridError):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)


class AsyncWorker:
    """A task that sends: :class:`Worker` for an event loop."""

    def __init__(self, send: Callable[[list[Sealed], bool], Awaitable[Sequence[Outcome]]]) -> None:
        self._send = send
        self._queue: Queue[asyncio.Future[Receipt]] = Queue()
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, sealed: Sealed, patience_s: float) -> asyncio.Future[Receipt]:
        """Queue a record; wait for room if need be."""
        async with self._changed:
            try:
                async with asyncio.timeout(patience_s):
                    await self._changed.wait_for(lambda: self._queue.may_end_wait(sealed))
            except TimeoutError:
                raise _full() from None
            future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
            self._queue.add(sealed, future)
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="ledgergrid")
            self._changed.notify_all()
        return future

    async def drain(self) -> None:
        """Wait until everything queued has an outcome."""
        async with self._changed:
            await self._changed.wait_for(self._queue.is_idle)

    async def close(self) -> None:
        """Send what is queued, then end."""
        async with self._changed:
            self._queue.is_closed = True
            self._changed.notify_all()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while True:
            async with self._changed:
                self._queue.is_sending = False
                self._changed.notify_all()
                await self._changed.wait_for(self._queue.is_due)
                batch, is_closing = self._queue.take(), self._queue.is_closed
            if not batch:
                return
            try:
                outcomes = await self._send([sealed for sealed, _ in batch], is_closing)
            except BaseException as error:
                for _, future in batch:
                    _set_unless_done(future, error)
                if isinstance(error, asyncio.CancelledError):
                    raise
                continue
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                _set_unless_done(future, outcome)


def _set_unless_done(future: asyncio.Future[Receipt], outcome: Receipt | BaseException) -> None:
    if future.done():
        return  # Whoever waited was cancelled; the record was sent all the same.
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
