"""Carries records from the event loop to the pool and their outcomes back, many at a time.

Waking a thread costs more than a record does. So what requests submit in one turn of the loop
leaves together, and what the pool finishes while a wake-up is on its way travels with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ledger_core.admission import Admitted
from ledger_core.errors import LedgerGridError
from ledger_core.pool import Appender, Job, Pool, PreparedJob
from ledger_core.sequencer import Committed, Outcome

_Waiting = asyncio.Future[list[Outcome]]
_Made = list[Committed | LedgerGridError]


class Ferry:
    """Belongs to one event loop. ``_arrived`` is filled by any thread, emptied by the loop."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._leaving: list[Job] = []
        self._arrived: deque[tuple[asyncio.Future[Any], Any]] = deque()
        self._is_waking = False

    def submit(self, ledger: Appender, raws: Sequence[bytes]) -> _Waiting:
        """Return a future of the running loop: an outcome for each record, in order.

        Cancelling it cancels nothing else: a record is on its way whether anyone waits or not.
        """
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        self._board(loop, Job(ledger, raws, partial(self._arrive, loop, waiting)))
        return waiting

    async def submit_made(
        self, ledger: Appender, make: Callable[[], Admitted], size_bytes: int = 0
    ) -> Committed | LedgerGridError:
        """Have a record of the service's own made and appended; return once it is durable.

        ``make`` runs in a thread of the pool. What it raises beyond errors of ours is raised here.
        """
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[_Made] = loop.create_future()
        answer = partial(self._arrive, loop, waiting)
        self._board(loop, PreparedJob(ledger, [make], answer, size_bytes))
        try:
            (outcome,) = await waiting
        except LedgerGridError as error:
            return error
        return outcome

    def _board(self, loop: asyncio.AbstractEventLoop, job: Job) -> None:
        if not self._leaving:
            loop.call_soon(self._leave)
        self._leaving.append(job)

    def _leave(self) -> None:
        jobs, self._leaving = self._leaving, []
        self._pool.take(jobs)

    def _arrive(
        self, loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[Any], result: Any
    ) -> None:
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
