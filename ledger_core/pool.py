"""The pool gathers appends into batches: group commit without waiting for company.

While one batch of a ledger is being committed, whatever arrives meanwhile becomes the next.
A lone append goes through at once; under load the batches grow by themselves.

Worker threads take tasks of two kinds. *Admitting* parses and verifies what arrived, in
parallel: libsodium releases the interpreter. *Sequencing* gives a ledger's admitted records
their places, one transaction at a time for each ledger; while one batch is remembered by the
signer and acknowledged, the next may commit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from ledger_core import limits
from ledger_core.admission import Admitted
from ledger_core.errors import BusyError, LedgerGridError
from ledger_core.sequencer import Outcome

_ADMIT_AT_ONCE = 32
"""Records one thread takes to admit before others get their turn."""


class Appender(Protocol):
    """What the pool needs of a ledger."""

    def admit(self, raw: bytes) -> Admitted:
        """Parse and check one submission; raises :class:`LedgerGridError`."""

    def sequence(
        self, admitted: Sequence[Admitted], on_commit: Callable[[], None]
    ) -> list[Outcome]:
        """Give records their places, durably; say when the next batch may begin."""


class _Job:
    """The records of one caller, on their way through the pool."""

    def __init__(self, ledger: Appender, raws: Sequence[bytes]) -> None:
        self.ledger = ledger
        self.raws = raws
        self.bytes = sum(map(len, raws))
        self.future: Future[list[Outcome]] = Future()
        # Whoever waits may leave; the record is on its way all the same, so nobody can cancel it.
        self.future.set_running_or_notify_cancel()
        self.admitted: list[Admitted | LedgerGridError] = []

    def admit(self) -> None:
        for raw in self.raws:
            try:
                self.admitted.append(self.ledger.admit(raw))
            except LedgerGridError as error:
                self.admitted.append(error)


class Pool:
    """Bounded in records and bytes. All state below is guarded by ``_changed``.

    ``on_batch`` hears of every batch: its records, and how many wait behind it.
    """

    def __init__(
        self,
        *,
        threads: int = 4,
        max_records: int = limits.POOL_RECORDS,
        max_bytes: int = limits.POOL_BYTES,
        on_batch: Callable[[int, int], None] = lambda records, waiting: None,
    ) -> None:
        self._max_records, self._max_bytes = max_records, max_bytes
        self._on_batch = on_batch
        self._changed = threading.Condition()
        self._arrived: deque[_Job] = deque()
        self._waiting: dict[Appender, list[_Job]] = {}
        self._busy: set[Appender] = set()
        self._records = self._bytes = 0
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"pool-{n}", daemon=True)
            for n in range(threads)
        ]

    @property
    def depth(self) -> int:
        """Records that are on their way."""
        return self._records

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Finish what was accepted, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def submit(self, ledger: Appender, raws: Sequence[bytes]) -> Future[list[Outcome]]:
        """Queue submissions; the future gives one outcome each, in order.

        Raises :class:`BusyError` if the pool is full: nothing was taken then.
        """
        job = _Job(ledger, raws)
        with self._changed:
            is_empty = self._records == 0
            is_full = (
                self._records + len(raws) > self._max_records
                or self._bytes + job.bytes > self._max_bytes
            )
            if self._closing or (is_full and not is_empty):
                raise BusyError(f"{self._records} appends are waiting already")
            self._records += len(raws)
            self._bytes += job.bytes
            self._arrived.append(job)
            self._changed.notify()
        return job.future

    # --- workers -----------------------------------------------------------------

    def _work(self) -> None:
        while task := self._next_task():
            task()

    def _next_task(self) -> Callable[[], None] | None:
        with self._changed:
            while True:
                ledger = next((each for each in self._waiting if each not in self._busy), None)
                if ledger is not None:
                    jobs = self._take_batch(ledger)
                    self._busy.add(ledger)
                    return lambda: self._sequence(ledger, jobs)
                if self._arrived:
                    jobs = self._take_arrived()
                    return lambda: self._admit(jobs)
                if self._closing and not self._records:
                    return None
                self._changed.wait()

    def _take_arrived(self) -> list[_Job]:
        jobs: list[_Job] = []
        records = 0
        while self._arrived and records < _ADMIT_AT_ONCE:
            jobs.append(self._arrived.popleft())
            records += len(jobs[-1].raws)
        return jobs

    def _take_batch(self, ledger: Appender) -> list[_Job]:
        waiting = self._waiting[ledger]
        jobs: list[_Job] = []
        records = 0
        while waiting and (not jobs or records + len(waiting[0].raws) <= limits.SEQUENCE_RECORDS):
            jobs.append(waiting.pop(0))
            records += len(jobs[-1].raws)
        if not waiting:
            del self._waiting[ledger]
        return jobs

    def _admit(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            self._guarded([job], job.admit)
        with self._changed:
            for job in jobs:
                if not job.future.done():
                    self._waiting.setdefault(job.ledger, []).append(job)
            self._changed.notify(len(self._threads) if self._closing else 1)

    def _sequence(self, ledger: Appender, jobs: Sequence[_Job]) -> None:
        holds = True

        def free() -> None:
            """Let the next batch of this ledger begin; once, for it may have begun."""
            nonlocal holds
            if holds:
                holds = False
                with self._changed:
                    self._busy.discard(ledger)
                    if self._waiting:
                        self._changed.notify()

        self._guarded(jobs, lambda: self._append(ledger, jobs, free))
        free()

    def _append(
        self, ledger: Appender, jobs: Sequence[_Job], on_commit: Callable[[], None]
    ) -> None:
        admitted = [x for job in jobs for x in job.admitted if isinstance(x, Admitted)]
        behind = self._records - sum(len(job.raws) for job in jobs)
        self._on_batch(len(admitted), behind)
        try:
            outcomes = iter(ledger.sequence(admitted, on_commit))
        except LedgerGridError as error:
            outcomes = iter([error] * len(admitted))
        for job in jobs:
            results = [next(outcomes) if isinstance(x, Admitted) else x for x in job.admitted]
            self._finish(job)
            job.future.set_result(results)

    def _guarded(self, jobs: Sequence[_Job], step: Callable[[], None]) -> None:
        """Run a step; hand an error of our own making to those who wait, not to the thread."""
        try:
            step()
        except BaseException as error:
            for job in jobs:
                if not job.future.done():
                    self._finish(job)
                    job.future.set_exception(error)
            if not isinstance(error, Exception):
                raise

    def _finish(self, job: _Job) -> None:
        with self._changed:
            self._records -= len(job.raws)
            self._bytes -= job.bytes
            if self._closing:
                self._changed.notify_all()
