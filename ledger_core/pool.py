"""The pool gathers appends into batches: group commit without waiting for company.

While one batch of a ledger is being committed, whatever arrives meanwhile becomes the next.
A lone append goes through at once; under load the batches grow by themselves.

Worker threads take tasks of two kinds. *Admitting* parses and verifies what arrived, in
parallel: libsodium releases the interpreter. *Sequencing* gives a ledger's admitted records
their places, one transaction at a time for each ledger; while one batch is remembered by the
signer and acknowledged, the next may commit.

Records that the service makes itself (:class:`PreparedJob`) are made where others are admitted,
and are answered as soon as they are durable: nobody waits for a signature it does not ask for. A
batch of which nobody wants a receipt is not signed for itself either: within a tenth of a second
the newest tree is, so that the signer's memory follows without a durable write for each call.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from ledger_core import limits
from ledger_core.admission import Admitted
from ledger_core.errors import BusyError, IntegrityError, LedgerGridError
from ledger_core.sequencer import Commit, Committed, Outcome

_SIGN_WITHIN_S, _SIGN_AGAIN_S = 0.1, 1.0
_ADMIT_AT_ONCE = 64
"""Records one thread takes to admit before others get their turn."""


class Appender(Protocol):
    """What the pool needs of a ledger."""

    def admit(self, raw: bytes) -> Admitted:
        """Parse and check one submission; raises :class:`LedgerGridError`."""

    def commit(self, admitted: Sequence[Admitted]) -> Commit:
        """Give records their places, durably; the next batch may begin on return."""

    def acknowledge(self, commit: Commit, numbers: Iterable[int]) -> list[Outcome]:
        """Sign what was committed; return the outcomes of those of its records."""


class Job:
    """The records of one caller, on their way through the pool.

    ``answer`` is called once, by any thread, with an outcome for each record, in order, or with
    what kept them from having one. Nobody can call a job back: it may be committed already.
    """

    def __init__(
        self,
        ledger: Appender,
        raws: Sequence[bytes],
        answer: Callable[[Any], None],
    ) -> None:
        self.ledger = ledger
        self.raws = raws
        self.answer = answer
        self.records = len(raws)
        self.bytes = sum(map(len, raws))
        self.is_finished = False
        self.admitted: list[Admitted | LedgerGridError] = []

    def admit(self) -> None:
        for raw in self.raws:
            try:
                self.admitted.append(self.ledger.admit(raw))
            except LedgerGridError as error:
                self.admitted.append(error)


class PreparedJob(Job):
    """Records that the service makes itself: admitted already once they are made.

    ``makers`` are called in the pool's threads, each once, and may refuse as admission does.
    ``answer`` is called as soon as the records are durable, before their checkpoint is signed,
    with a :class:`Committed` or an error for each; or with what kept them from having one.
    ``size_bytes``: how much they hold, for the pool's bound.
    """

    def __init__(
        self,
        ledger: Appender,
        makers: Sequence[Callable[[], Admitted]],
        answer: Callable[[list[Committed | LedgerGridError] | BaseException], None],
        size_bytes: int = 0,
    ) -> None:
        super().__init__(ledger, (), answer)
        self.makers = makers
        self.records = len(makers)
        self.bytes = size_bytes

    def admit(self) -> None:
        for make in self.makers:
            try:
                self.admitted.append(make())
            except LedgerGridError as error:
                self.admitted.append(error)


class _Batch:
    """The records of several jobs that are sequenced together."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.admitted: list[Admitted] = []
        self._numbers: dict[Job, range] = {}
        for job in jobs:
            first = len(self.admitted)
            self.admitted += [x for x in job.admitted if isinstance(x, Admitted)]
            self._numbers[job] = range(first, len(self.admitted))

    def numbers(self, job: Job) -> range:
        """Return which of the batch's records are this job's."""
        return self._numbers[job]

    def committed(self, job: Job, commit: Commit) -> list[Committed | LedgerGridError]:
        outcomes = map(commit.outcome, self._numbers[job])
        return [next(outcomes) if isinstance(x, Admitted) else x for x in job.admitted]


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
        self._arrived: deque[Job] = deque()
        self._waiting: dict[Appender, list[Job]] = {}
        self._busy: set[Appender] = set()
        self._unsigned: dict[Appender, tuple[float, Commit]] = {}
        """What was committed and not signed yet, and when it is to be."""
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
        """Queue one caller's submissions; the future gives one outcome each, in order."""
        future: Future[list[Outcome]] = Future()
        future.set_running_or_notify_cancel()

        def answer(result: list[Outcome] | BaseException) -> None:
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.take([Job(ledger, raws, answer)])
        return future

    def take(self, jobs: Sequence[Job]) -> None:
        """Queue jobs of many callers; whom there is no room for is answered :class:`BusyError`."""
        refused: list[Job] = []
        with self._changed:
            for job in jobs:
                if self._has_room(job):
                    self._records += job.records
                    self._bytes += job.bytes
                    self._arrived.append(job)
                else:
                    refused.append(job)
            self._changed.notify()
        for job in refused:
            job.answer(BusyError(f"{self._records} appends are waiting already"))

    def _has_room(self, job: Job) -> bool:
        is_full = (
            self._records + job.records > self._max_records
            or self._bytes + job.bytes > self._max_bytes
        )
        return not self._closing and (not is_full or self._records == 0)

    # --- workers -----------------------------------------------------------------

    def _work(self) -> None:
        while task := self._next_task():
            task()

    def _next_task(self) -> Callable[[], None] | None:
        with self._changed:
            while True:
                task = self._take_task()
                if task is not None:
                    # Whoever leaves something to do wakes the next, and nobody else does: a
                    # thread that is woken for nothing costs those at work the interpreter.
                    if self._arrived or self._next_ledger() is not None:
                        self._changed.notify()
                    return task
                if self._closing and not self._records:
                    return None
                self._changed.wait(self._unsigned_for_s())

    def _unsigned_for_s(self) -> float | None:
        """Return how long the next signature may wait; None if there is none to make."""
        if not self._unsigned:
            return None
        return max(0.0, min(at for at, _ in self._unsigned.values()) - time.monotonic())

    def _take_unsigned(self) -> tuple[Appender, Commit] | None:
        """Return a ledger whose time has come to be signed; all have when the pool closes."""
        if not self._unsigned:
            return None
        now_s = time.monotonic()
        due = (x for x, (at, _) in self._unsigned.items() if at <= now_s or self._closing)
        ledger = next(due, None)
        return None if ledger is None else (ledger, self._unsigned.pop(ledger)[1])

    def _take_task(self) -> Callable[[], None] | None:
        unsigned = self._take_unsigned()
        if unsigned is not None:
            return lambda: self._sign(*unsigned)
        ledger = self._next_ledger()
        if ledger is not None:
            batch = self._take_batch(ledger)
            self._busy.add(ledger)
            return lambda: self._sequence(ledger, batch)
        if self._arrived:
            jobs = self._take_arrived()
            return lambda: self._admit(jobs)
        return None

    def _next_ledger(self) -> Appender | None:
        return next((each for each in self._waiting if each not in self._busy), None)

    def _take_arrived(self) -> list[Job]:
        jobs: list[Job] = []
        records = 0
        while self._arrived and records < _ADMIT_AT_ONCE:
            jobs.append(self._arrived.popleft())
            records += jobs[-1].records
        return jobs

    def _take_batch(self, ledger: Appender) -> list[Job]:
        waiting = self._waiting[ledger]
        jobs: list[Job] = []
        records = 0
        while waiting and (not jobs or records + waiting[0].records <= limits.SEQUENCE_RECORDS):
            jobs.append(waiting.pop(0))
            records += jobs[-1].records
        if not waiting:
            del self._waiting[ledger]
        return jobs

    def _admit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._guarded([job], job.admit)
        with self._changed:
            for job in jobs:
                if not job.is_finished:
                    self._waiting.setdefault(job.ledger, []).append(job)

    def _sequence(self, ledger: Appender, jobs: Sequence[Job]) -> None:
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

    def _append(self, ledger: Appender, jobs: Sequence[Job], free: Callable[[], None]) -> None:
        batch = _Batch(jobs)
        self._on_batch(len(batch.admitted), self._records - sum(job.records for job in jobs))
        try:
            commit = ledger.commit(batch.admitted) if batch.admitted else None
            free()
            early = [job for job in jobs if isinstance(job, PreparedJob)]
            if commit is not None and early:
                self._answer(early, [batch.committed(job, commit) for job in early])
            late = [job for job in jobs if not job.is_finished]
            numbers = [n for job in late for n in batch.numbers(job)]
            outcomes = self._acknowledge(ledger, commit, numbers) if commit is not None else []
        except LedgerGridError as error:
            late = [job for job in jobs if not job.is_finished]
            outcomes = [error] * sum(len(batch.numbers(job)) for job in late)
        remaining = iter(outcomes)
        self._answer(
            late,
            [
                [next(remaining) if isinstance(x, Admitted) else x for x in job.admitted]
                for job in late
            ],
        )

    def _acknowledge(
        self, ledger: Appender, commit: Commit, numbers: Sequence[int]
    ) -> list[Outcome]:
        """Return the outcomes of those who wait for a receipt; sign later if nobody does."""
        if numbers:
            return ledger.acknowledge(commit, numbers)
        if commit.is_grown:
            self._sign_later(ledger, commit, _SIGN_WITHIN_S)
        return []

    def _sign_later(self, ledger: Appender, commit: Commit, within_s: float) -> None:
        with self._changed:
            at, newest = self._unsigned.get(ledger, (time.monotonic() + within_s, commit))
            if commit.growth.size > newest.growth.size:
                newest = commit
            self._unsigned[ledger] = (at, newest)

    def _sign(self, ledger: Appender, commit: Commit) -> None:
        try:
            ledger.acknowledge(commit, ())
        except IntegrityError:
            return  # The ledger takes nothing more, and says why to whoever asks.
        except LedgerGridError:
            if not self._closing:
                self._sign_later(ledger, commit, _SIGN_AGAIN_S)

    def _answer(self, jobs: Sequence[Job], results: Sequence[list[Any]]) -> None:
        self._finish(jobs)
        for job, result in zip(jobs, results, strict=True):
            job.answer(result)

    def _guarded(self, jobs: Sequence[Job], step: Callable[[], None]) -> None:
        """Run a step; hand an error of our own making to those who wait, not to the thread."""
        try:
            step()
        except BaseException as error:
            left = [job for job in jobs if not job.is_finished]
            self._finish(left)
            for job in left:
                job.answer(error)
            if not isinstance(error, Exception):
                raise

    def _finish(self, jobs: Sequence[Job]) -> None:
        with self._changed:
            for job in jobs:
                job.is_finished = True
                self._records -= job.records
                self._bytes -= job.bytes
            if self._closing:
                self._changed.notify_all()
