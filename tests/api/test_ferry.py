"""The ferry: one crossing for many records, and nobody's outcome goes to another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import pytest

from api.ferry import Ferry
from ledger_core.admission import Admitted
from ledger_core.errors import BusyError, MalformedError
from ledger_core.pool import Job, Pool
from ledger_core.sequencer import Commit, Outcome


class Refusing:
    """A ledger that refuses every record, and says its bytes."""

    def admit(self, raw: bytes) -> Admitted:
        if raw == b"mistake":
            raise ZeroDivisionError
        raise MalformedError(raw.decode())

    def commit(self, admitted: Sequence[Admitted]) -> Commit:
        raise AssertionError("there is nothing to commit")

    def acknowledge(self, commit: Commit, numbers: Iterable[int]) -> list[Outcome]:
        return []


class Counting(Pool):
    """A pool that counts how often something was brought to it."""

    def __init__(self, max_records: int = 100) -> None:
        super().__init__(max_records=max_records)
        self.crossings: list[int] = []

    def take(self, jobs: Sequence[Job]) -> None:
        self.crossings.append(len(jobs))
        super().take(jobs)


async def submit_all(pool: Pool, raws: Sequence[bytes]) -> list[list[Outcome] | BaseException]:
    pool.start()
    try:
        ferry = Ferry(pool)
        waiting = [ferry.submit(Refusing(), [raw]) for raw in raws]
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
    finally:
        await asyncio.to_thread(pool.close)


def test_what_is_submitted_in_one_turn_crosses_at_once_and_each_gets_its_own() -> None:
    pool = Counting()
    raws = [b"%d" % n for n in range(50)]
    outcomes = asyncio.run(submit_all(pool, raws))
    assert [str(outcome[0]) for outcome in outcomes if isinstance(outcome, list)] == [
        raw.decode() for raw in raws
    ]
    assert pool.crossings == [50]


def test_an_error_of_our_own_reaches_only_its_caller() -> None:
    mistake, refused = asyncio.run(submit_all(Counting(), [b"mistake", b"x"]))
    assert isinstance(mistake, ZeroDivisionError)
    assert isinstance(refused, list)


def test_a_full_pool_is_told_to_whom_it_concerns() -> None:
    taken, refused = asyncio.run(submit_all(Counting(max_records=1), [b"x", b"y"]))
    assert isinstance(taken, list)
    assert isinstance(refused, BusyError)


def test_a_waiter_who_leaves_keeps_nobody_else_waiting() -> None:
    async def run() -> list[Outcome]:
        pool = Pool()
        ferry = Ferry(pool)
        leaver, stayer = (ferry.submit(Refusing(), [raw]) for raw in (b"x", b"y"))
        leaver.cancel()
        pool.start()
        try:
            return await asyncio.wait_for(stayer, 30)
        finally:
            await asyncio.to_thread(pool.close)

    assert len(asyncio.run(run())) == 1


@pytest.mark.parametrize("turns", [1, 3])
def test_each_turn_of_the_loop_is_one_crossing(turns: int) -> None:
    pool = Counting()

    async def run() -> None:
        pool.start()
        ferry = Ferry(pool)
        for _ in range(turns):
            await asyncio.gather(*(ferry.submit(Refusing(), [b"x"]) for _ in range(4)))
        await asyncio.to_thread(pool.close)

    asyncio.run(run())
    assert pool.crossings == [4] * turns
