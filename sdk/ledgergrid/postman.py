"""What delivers what was kept, in a thread or a task, and comes again while the ledger is away.

Nobody waits for it. What it carries is on disk, so that a process which ends before it is done
loses nothing: the next one that opens the same state folder sends the rest.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable

from ledger_core.errors import LedgerGridError

log = logging.getLogger("ledgergrid")

_SHORTEST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_FAREWELL_S = 10.0
"""What the end of a process waits for a last delivery, which may be to a ledger that is away."""


class Postman:
    """``_is_due`` and ``_is_closing`` are owned by ``_changed``."""

    def __init__(self, deliver: Callable[[], bool]) -> None:
        """``deliver`` tries once, and says whether nothing is left."""
        self._deliver = deliver
        self._changed = threading.Condition()
        self._is_due = False
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def send_for(self) -> None:
        """Have it come; return at once. Once closed it does not: what is kept stays on disk."""
        with self._changed:
            if self._is_closing:
                return
            self._is_due = True
            if self._thread is None or not self._thread.is_alive():
                self._start()
            self._changed.notify_all()

    def _start(self) -> None:
        if self._thread is None:
            atexit.register(_close, weakref.ref(self))
        self._thread = threading.Thread(target=self._run, name="ledgergrid-post", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Deliver a last time, within a few seconds, then end."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_FAREWELL_S)

    def _run(self) -> None:
        pause_s = _SHORTEST_PAUSE_S
        while self._is_wanted():
            if self._is_all_delivered():
                pause_s = _SHORTEST_PAUSE_S
                continue
            with self._changed:
                self._is_due = not self._is_closing
                self._changed.wait_for(lambda: self._is_closing, pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _is_wanted(self) -> bool:
        """Wait for something to do; say whether there is."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_due or self._is_closing)
            is_wanted, self._is_due = self._is_due, False
            return is_wanted

    def _is_all_delivered(self) -> bool:
        try:
            return self._deliver()
        except (LedgerGridError, OSError) as error:
            log.warning("records wait in the outbox: %s", error)
            return False


class AsyncPostman:
    """A task that delivers: :class:`Postman` for an event loop. Closed, or lost with the loop."""

    def __init__(self, deliver: Callable[[], Awaitable[bool]]) -> None:
        self._deliver = deliver
        self._due = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def send_for(self) -> None:
        """Have it come; return at once."""
        if self._closing.is_set():
            return
        self._due.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="ledgergrid-post")

    async def close(self) -> None:
        """Deliver a last time, within a few seconds, then end."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_FAREWELL_S)
            self._task.cancel()

    async def _run(self) -> None:
        pause_s = _SHORTEST_PAUSE_S
        while self._due.is_set():
            self._due.clear()
            if await self._is_all_delivered():
                pause_s = _SHORTEST_PAUSE_S
                continue
            if self._closing.is_set():
                return
            self._due.set()
            try:
                await asyncio.wait_for(self._closing.wait(), pause_s)
            except TimeoutError:
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _is_all_delivered(self) -> bool:
        try:
            return await self._deliver()
        except (LedgerGridError, OSError) as error:
            log.warning("records wait in the outbox: %s", error)
            return False


def _close(reference: weakref.ref[Postman]) -> None:
    postman = reference()
    if postman is not None:
        postman.close()
