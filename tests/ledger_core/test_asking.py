"""One witness: how far it is, and when it may be asked again. What it says: test_witnessing.py."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from ledger_core.asking import Outcome, Pace, Patience, Witness
from ledger_core.clock import now_ms
from ledger_core.errors import UnreachableError, WitnessError
from ledger_core.formats.vkey import key_digest
from ledger_core.storage.cosignatures import NO_LEDGER
from ledger_core.witness_client import Cosigned, Line, WitnessClient
from tests.vectors.build import WITNESS, WITNESS_2

ONE, TWO = key_digest(WITNESS.public), key_digest(WITNESS_2.public)
SHORT = Pace(retry_s=0.02, longest_retry_s=0.02, refused_s=0.02, longest_refused_s=0.02)
AWAY, REFUSED = UnreachableError("away"), WitnessError("answered 403")


@pytest.fixture
def witness() -> Iterator[Witness]:
    """A witness that is known by two keys."""
    with httpx.Client() as http:
        keys = {"one": WITNESS.public, "two": WITNESS_2.public}
        witness = Witness(WitnessClient("http://witness.example", keys, http, now_ms, 1), SHORT)
        yield witness
        witness.pool.shutdown()


def cosigned(*missing: str) -> Cosigned:
    return Cosigned((Line(ONE, 5, b"a line"),), missing)


def test_patience_lasts_longer_each_time_up_to_its_bound_and_starts_anew() -> None:
    patience = Patience(10.0, 300.0)
    waits_s: list[float] = []
    for _ in range(40):
        patience._due_s = 0.0  # As if the time had passed.
        began_s = time.monotonic()
        patience.fail()
        assert not patience.is_over
        waits_s.append(patience._due_s - began_s)
    for wait_s, middle_s in zip(waits_s, [10, 20, 40, 80, 160, *[300] * 35], strict=True):
        assert 0.75 * middle_s <= wait_s <= 1.25 * middle_s + 60
    patience.recover()
    assert patience.is_over


def test_those_who_fail_together_have_failed_once() -> None:
    patience = Patience(10.0, 10_000.0)
    patience.fail()
    first = patience._due_s
    for _ in range(10):
        patience.fail()
    assert patience._due_s == first


def test_a_witness_is_as_far_as_the_key_of_its_that_is_behind(witness: Witness) -> None:
    witness.asked.add(1)
    witness.recall({(1, ONE): 7, (1, TWO): 5, (2, ONE): 9, (3, b"another's"): 4})
    assert [witness.done(ledger_id) for ledger_id in (1, 2, 3, 4)] == [5, 0, 0, 0]
    assert witness.asked == set()
    witness.recall({})
    assert witness.done(1) == 0


def test_it_goes_on_from_what_it_cosigned_and_never_back(witness: Witness) -> None:
    for size in (8, 5):
        witness.learn(Outcome(1, witness, size, cosigned()))
    assert (witness.done(1), witness.done(2)) == (8, 0)


def test_who_refuses_is_left_alone_about_that_ledger_and_no_other(witness: Witness) -> None:
    witness.learn(Outcome(1, witness, error=REFUSED))
    assert (witness.is_idle(1), witness.is_idle(2)) == (False, True)
    assert witness.patience.is_over
    time.sleep(0.03)
    assert witness.is_idle(1)


def test_a_line_that_is_missing_counts_as_a_refusal(witness: Witness) -> None:
    witness.learn(Outcome(1, witness, 8, cosigned("two")))
    assert (witness.is_idle(1), witness.done(1)) == (False, 0)


def test_nobody_is_asked_twice_at_once_about_a_ledger(witness: Witness) -> None:
    witness.asked.add(1)
    assert (witness.is_idle(1), witness.is_idle(2)) == (False, True)


def test_silence_is_said_of_the_witness_and_a_refusal_of_the_ledger(witness: Witness) -> None:
    assert Outcome(7, witness, error=AWAY).troubles() == dict.fromkeys(
        ((NO_LEDGER, ONE), (NO_LEDGER, TWO)), "away"
    )
    assert Outcome(7, witness, error=REFUSED).troubles() == dict.fromkeys(
        ((7, ONE), (7, TWO)), "answered 403"
    )
    assert Outcome(7, witness).troubles() == {}


def test_an_answer_ends_what_was_said_before(witness: Witness) -> None:
    outcome = Outcome(7, witness, 8, cosigned("two"))
    said = outcome.troubles()
    assert said.pop((7, TWO)) == "its answer has no line by this key"
    assert said == dict.fromkeys(((7, ONE), (NO_LEDGER, ONE), (NO_LEDGER, TWO)), "")
    (line,) = outcome.lines()
    assert (line.ledger_id, line.size, line.witness, line.line) == (7, 8, ONE, b"a line")
