"""The pool: batches by themselves, bounded, and nobody's trouble is another's."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from ledger_core.admission import Admitted
from ledger_core.errors import BusyError, MalformedError, SignatureError, StandingError
from ledger_core.formats.submission import format_submission
from ledger_core.ledger import Ledger
from ledger_core.pool import Job, Pool
from ledger_core.sequencer import Commit, Outcome
from tests.support.ledgers import Author, Service, appended, refused, register


@pytest.fixture
def ledger(sqlite_url: str, tmp_path: Path) -> Iterator[Ledger]:
    service = Service(sqlite_url, tmp_path)
    yield service.open().ledgers.create("main")
    service.close()


@pytest.fixture
def author(ledger: Ledger) -> Author:
    return register(ledger)


@contextmanager
def a_pool(**bounds: int) -> Iterator[Pool]:
    pool = Pool(**bounds)  # type: ignore[arg-type]
    pool.start()
    try:
        yield pool
    finally:
        pool.close()


class Slow:
    """A ledger whose batches wait for the test's word."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.entered, self.go = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def admit(self, raw: bytes) -> Admitted:
        return self._ledger.admit(raw)

    def commit(self, admitted: Sequence[Admitted]) -> Commit:
        self.entered.set()
        assert self.go.wait(30)
        self.batches.append(len(admitted))
        return self._ledger.commit(admitted)

    def acknowledge(self, commit: Commit, numbers: Iterable[int]) -> list[Outcome]:
        return self._ledger.acknowledge(commit, numbers)


def raw(author: Author, value: object = "") -> bytes:
    return format_submission(author.note(value))


def test_a_lone_append_goes_through_at_once(ledger: Ledger, author: Author) -> None:
    with a_pool() as pool:
        outcome = pool.submit(ledger, [raw(author)]).result(30)[0]
        assert appended(outcome).index == 2
        assert pool.depth == 0


def test_what_arrives_while_a_batch_is_committed_becomes_the_next_batch(
    ledger: Ledger, author: Author
) -> None:
    slow = Slow(ledger)
    with a_pool() as pool:
        first = pool.submit(slow, [raw(author)])
        assert slow.entered.wait(30)
        rest = [pool.submit(slow, [raw(author, n)]) for n in range(50)]
        while pool.depth != 51:
            pass
        slow.go.set()
        assert wait([first, *rest], 30).not_done == set()
    assert slow.batches[0] == 1
    assert sum(slow.batches) == 51
    assert len(slow.batches) < 10
    assert ledger.size() == 53


def test_each_caller_gets_its_own_outcomes_in_order(ledger: Ledger, author: Author) -> None:
    with a_pool() as pool:
        stranger = Author(ledger.origin)
        outcomes = pool.submit(
            ledger, [raw(author), b"not JSON", raw(stranger), raw(author)]
        ).result(30)
        assert [appended(outcomes[n]).index for n in (0, 3)] == [2, 3]
        assert isinstance(refused(outcomes[1]), MalformedError)
        assert isinstance(refused(outcomes[2]), StandingError)


def test_nothing_but_refusals_is_answered_too(ledger: Ledger) -> None:
    with a_pool() as pool:
        assert isinstance(refused(pool.submit(ledger, [b"{}"]).result(30)[0]), MalformedError)
        assert pool.submit(ledger, []).result(30) == []


def test_a_full_pool_refuses_at_once_and_takes_again_when_there_is_room(
    ledger: Ledger, author: Author
) -> None:
    slow = Slow(ledger)
    with a_pool(max_records=3) as pool:
        taken = [pool.submit(slow, [raw(author, n)]) for n in range(3)]
        with pytest.raises(BusyError) as error:
            pool.submit(slow, [raw(author)]).result(30)
        assert error.value.retry_after_s >= 1
        slow.go.set()
        assert wait(taken, 30).not_done == set()
        assert appended(pool.submit(slow, [raw(author)]).result(30)[0]).index == 5


def test_of_many_jobs_at_once_those_that_fit_are_taken(ledger: Ledger, author: Author) -> None:
    answers: dict[int, object] = {}
    jobs = [Job(ledger, [raw(author, n)], partial(answers.__setitem__, n)) for n in range(5)]
    with a_pool(max_records=3) as pool:
        pool.take(jobs)
    assert [type(answers[n]) for n in range(5)] == [list] * 3 + [BusyError] * 2


def test_a_pool_is_bounded_in_bytes_but_takes_what_is_too_large_when_it_is_empty(
    ledger: Ledger, author: Author
) -> None:
    slow = Slow(ledger)
    with a_pool(max_bytes=100) as pool:
        large = pool.submit(slow, [raw(author, "x" * 1_000)])
        with pytest.raises(BusyError):
            pool.submit(slow, [raw(author)]).result(30)
        slow.go.set()
        assert appended(large.result(30)[0]).index == 2


def test_a_waiter_who_leaves_changes_nothing_for_the_others(ledger: Ledger, author: Author) -> None:
    """Whoever is gone cannot call the record back: it may be committed already."""
    slow = Slow(ledger)
    with a_pool() as pool:
        leaver, stayer = pool.submit(slow, [raw(author)]), pool.submit(slow, [raw(author)])
        assert not leaver.cancel()
        slow.go.set()
        assert appended(stayer.result(30)[0]).index in (2, 3)
        assert appended(leaver.result(30)[0]).index in (2, 3)
        assert pool.depth == 0


def test_a_storage_that_fails_tells_everyone_in_the_batch_and_the_pool_goes_on(
    ledger: Ledger, author: Author
) -> None:
    class Failing(Slow):
        def commit(self, admitted: Sequence[Admitted]) -> Commit:
            raise SignatureError("no storage today")

    with a_pool() as pool:
        broken = Failing(ledger)
        outcome = pool.submit(broken, [raw(author), raw(author)]).result(30)
        assert [type(refused(each)) for each in outcome] == [SignatureError, SignatureError]
        assert appended(pool.submit(ledger, [raw(author)]).result(30)[0]).index == 2


def test_an_error_of_our_own_reaches_those_who_wait_and_kills_no_thread(
    ledger: Ledger, author: Author
) -> None:
    class Broken(Slow):
        def admit(self, raw: bytes) -> Admitted:
            raise ZeroDivisionError

    with a_pool(threads=1) as pool:
        with pytest.raises(ZeroDivisionError):
            pool.submit(Broken(ledger), [raw(author)]).result(30)
        assert pool.depth == 0
        assert appended(pool.submit(ledger, [raw(author)]).result(30)[0]).index == 2


def test_one_slow_ledger_does_not_hold_up_another(ledger: Ledger, author: Author) -> None:
    slow = Slow(ledger)
    with a_pool(threads=2) as pool:
        waiting = pool.submit(slow, [raw(author)])
        assert slow.entered.wait(30)
        assert appended(pool.submit(ledger, [raw(author)]).result(30)[0]).index == 2
        assert not waiting.done()
        slow.go.set()
        assert appended(waiting.result(30)[0]).index == 3


def test_closing_finishes_what_was_accepted_and_takes_no_more(
    ledger: Ledger, author: Author
) -> None:
    pool = Pool()
    pool.start()
    accepted: list[Future[list[Outcome]]] = [
        pool.submit(ledger, [raw(author, n)]) for n in range(30)
    ]
    pool.close()
    assert all(each.done() for each in accepted)
    assert sorted(appended(each.result()[0]).index for each in accepted) == list(range(2, 32))
    with pytest.raises(BusyError):
        pool.submit(ledger, [raw(author)]).result(30)


def test_many_callers_at_once_each_get_their_place(ledger: Ledger, author: Author) -> None:
    with a_pool() as pool:
        futures = [pool.submit(ledger, [raw(author, n)] * (1 + n % 3)) for n in range(200)]
        places = [[appended(each).index for each in future.result(60)] for future in futures]
    assert all(len(set(each)) == 1 for each in places)
    assert sorted(each[0] for each in places) == list(range(2, 202))


def test_the_next_batch_commits_while_the_last_is_still_being_acknowledged(
    ledger: Ledger, author: Author
) -> None:
    """The signer's memory of one batch and the commit of the next are written side by side."""
    committed, acknowledge = threading.Semaphore(0), threading.Event()

    class Late:
        def admit(self, raw: bytes) -> Admitted:
            return ledger.admit(raw)

        def commit(self, admitted: Sequence[Admitted]) -> Commit:
            return ledger.commit(admitted)

        def acknowledge(self, commit: Commit, numbers: Iterable[int]) -> list[Outcome]:
            committed.release()
            assert acknowledge.wait(30)
            return ledger.acknowledge(commit, numbers)

    late = Late()
    with a_pool() as pool:
        first = pool.submit(late, [raw(author)])
        assert committed.acquire(timeout=30)
        second = pool.submit(late, [raw(author)])
        assert committed.acquire(timeout=30)
        assert not first.done()
        acknowledge.set()
        places = [outcome.result(30)[0] for outcome in (first, second)]
    assert [appended(each).index for each in places] == [2, 3]
