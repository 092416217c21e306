"""Carries records from the event loop to the pool and their outcomes back, many at a time.

Waking a thread costs more than a record does. So what requests submit in one turn of the loop
leaves together, and what the pool finishes while a wake-up is on its way travels with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial

from ledger_core.pool import Appender, Job, Pool
from ledger_core.sequencer import Outcome

_Waiting = asyncio.Future[list[Outcome]]
_Result = list[Outcome] | BaseException


class Ferry:
    """Belongs to one event loop. ``_arrived`` is filled by any thread, emptied by the loop."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._leaving: list[Job] = []
        self._arrived: deque[tuple[_Waiting, _Result]] = deque()
        self._is_waking = False

    def submit(self, ledger: Appender, raws: Sequence[bytes]) -> _Waiting:
        """Return a future of the running loop: an outcome for each record, in order.

        Cancelling it cancels nothing else: a record is on its way whether anyone waits or not.
        """
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        if not self._leaving:
            loop.call_soon(self._leave)
        self._leaving.append(Job(ledger, raws, partial(self._arrive, loop, waiting)))
        return waiting

    def _leave(self) -> None:
        jobs, self._leaving = self._leaving, []
        self._pool.take(jobs)

    def _arrive(self, loop: asyncio.AbstractEventLoop, waiting: _Waiting, result: _Result) -> None:
        self._arrived.append((waiting, result))
        # The loop clears the flag before it looks: whoever still sees it set is seen.
        if not self._is_waking:
            self._is_waking = True
            loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_waking = False
        while self._arrived:
            waiting, result = self._arrived.popleft()
            if waiting.cancelled():
                continue
            if isinstance(result, BaseException):
                waiting.set_exception(result)
            else:
                waiting.set_result(result)
