"""Allowances: budgets and rates, against a naive account of everything that ever happened."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import AllowanceError, LimitError, RateError
from ledger_core.policy.allowances import (
    WINDOW_S,
    Allowances,
    Draw,
    Rate,
    Spent,
    State,
    Window,
    allowance_key,
    day_ends_ms,
    day_of,
    ends_ms,
    state_key,
)

SECRET = b"\x07" * 32
KEYS = [allowance_key(SECRET, "session", name) for name in "abc"]
DAY_MS = 86_400_000

draws = st.builds(
    Draw,
    key=st.sampled_from(KEYS),
    amount_microusd=st.integers(0, 50),
    limit_microusd=st.none() | st.integers(0, 200),
    label=st.just("session a"),
)
rates = st.builds(
    Rate, key=st.sampled_from(KEYS), limit=st.integers(0, 6), label=st.just("session a")
)
steps = st.tuples(st.integers(0, 25_000), st.lists(draws, max_size=3), st.lists(rates, max_size=3))


@dataclass
class Account:
    """Everything that was ever taken, written down."""

    taken: list[tuple[bytes, int]] = field(default_factory=list)
    calls: list[tuple[bytes, int]] = field(default_factory=list)

    def used(self, key: bytes) -> int:
        return sum(amount for at, amount in self.taken if at == key)

    def recent(self, key: bytes, second: int) -> int:
        return sum(at == key and second - WINDOW_S < when <= second for at, when in self.calls)

    def take(self, now_ms: int, draws: list[Draw], rates: list[Rate]) -> bool:
        second = now_ms // 1000
        if any(self.recent(rate.key, second) >= rate.limit for rate in rates):
            return False
        limited = [draw for draw in draws if draw.limit_microusd is not None]
        if any(self.used(draw.key) >= (draw.limit_microusd or 0) for draw in limited):
            return False
        self.taken += [(draw.key, draw.amount_microusd) for draw in draws]
        # However often a record names a rate, it is one call.
        self.calls += [(key, second) for key in {rate.key for rate in rates}]
        return True


@given(st.lists(steps, max_size=40), st.integers(1, 5))
def test_what_is_allowed_is_what_a_full_account_allows_however_it_is_cut_into_batches(
    steps: list[tuple[int, list[Draw], list[Rate]]], batch: int
) -> None:
    account, stored, now_ms = Account(), dict[bytes, State](), 1_785_579_072_345
    allowances = Allowances({}, now_ms)
    for at, (passed_ms, drawn, rated) in enumerate(steps):
        if at % batch == 0:
            now_ms += passed_ms
            allowances = Allowances(dict(stored), now_ms)
        try:
            used = allowances.check(drawn, rated)
            allowances.take(drawn, rated)
        except LimitError:
            assert not account.take(now_ms, drawn, rated)
        else:
            assert list(used) == [account.used(draw.key) for draw in drawn]
            assert account.take(now_ms, drawn, rated)
        stored |= allowances.changed
        stored = {k: s for k, s in stored.items() if (ends_ms(s) or now_ms + 1) > now_ms}


@given(st.lists(st.integers(0, 5_000), max_size=80), st.integers(1, 5))
def test_a_refused_rate_has_room_again_when_it_says_and_not_before(
    passed_ms: list[int], limit: int
) -> None:
    rate, now_ms = Rate(KEYS[0], limit, "session a"), 0
    known: dict[bytes, State] = {}
    for each in passed_ms:
        now_ms += each
        allowances = Allowances(known, now_ms)
        try:
            allowances.check((), [rate])
        except RateError as error:
            after_s = error.retry_after_s
            assert after_s is not None and 1 <= after_s <= WINDOW_S
            Allowances(known, now_ms + after_s * 1000).check((), [rate])
            with pytest.raises(RateError):
                Allowances(known, now_ms + after_s * 1000 - 1000).check((), [rate])
        else:
            allowances.take((), [rate])
            known = {**known, **allowances.changed}


def take(known: dict[bytes, State], *draws: Draw, now_ms: int = 0) -> dict[bytes, State]:
    allowances = Allowances(known, now_ms)
    allowances.check(draws, ())
    allowances.take(draws, ())
    return {**known, **allowances.changed}


def spent(known: dict[bytes, State], draw: Draw) -> int:
    state = known.get(state_key(draw), Spent(0))
    assert isinstance(state, Spent)
    return state.microusd


def test_a_budget_refuses_when_it_is_used_up_and_not_before() -> None:
    draw = Draw(KEYS[0], 60, 100, "session a", DAY_MS)
    known = take(take({}, draw), draw)
    assert spent(known, draw) == 120
    with pytest.raises(AllowanceError, match="session a is used up: 120 of 100") as caught:
        take(known, draw, now_ms=DAY_MS - 1_500)
    error = caught.value
    assert (error.label, error.used, error.limit, error.retry_after_s) == (
        "session a",
        120,
        100,
        2,
    )


def test_a_lifetimes_budget_never_frees_itself() -> None:
    draw = Draw(KEYS[0], 1, 0, "session a")
    with pytest.raises(AllowanceError) as caught:
        take({}, draw)
    assert caught.value.retry_after_s is None


def test_an_end_gives_back_what_the_call_did_not_cost() -> None:
    start = Draw(KEYS[0], 100, 100, "session a")
    known = take(take({}, start), Draw(KEYS[0], 7 - 100, None, "session a"))
    assert spent(known, start) == 7
    assert spent(take(known, start), start) == 107


def test_no_budget_goes_below_nothing() -> None:
    back = Draw(KEYS[0], -5, None, "session a")
    assert spent(take({}, back), back) == 0


def test_what_is_settled_after_its_day_was_forgotten_leaves_nothing() -> None:
    back = Draw(KEYS[0], -5, None, "today", DAY_MS)
    assert take({}, back, now_ms=DAY_MS) == {}


def test_a_settlement_that_names_no_end_leaves_the_budgets_own() -> None:
    known = take({}, Draw(KEYS[0], 5, None, "today", DAY_MS))
    assert take(known, Draw(KEYS[0], -5, None, "today")) == {b"b" + KEYS[0]: Spent(0, DAY_MS)}


def test_one_refusal_among_several_takes_nothing_from_the_others() -> None:
    allowances = Allowances({}, 0)
    with pytest.raises(AllowanceError):
        allowances.check(
            [Draw(KEYS[0], 5, 10, "a"), Draw(KEYS[1], 5, 0, "b")], [Rate(KEYS[2], 9, "c")]
        )
    assert allowances.changed == {}


def test_a_budget_and_a_rate_of_one_name_know_nothing_of_each_other() -> None:
    draw, rate = Draw(KEYS[0], 5, 10, "a"), Rate(KEYS[0], 9, "a")
    allowances = Allowances({}, 5_000)
    allowances.take([draw], [rate])
    assert allowances.changed == {
        state_key(draw): Spent(5),
        state_key(rate): Window(5, (1,)),
    }


def test_names_of_allowances_differ_by_secret_kind_name_and_day() -> None:
    names = {
        allowance_key(secret, kind, name, day)
        for secret in (SECRET, b"\x08" * 32)
        for kind in ("user", "agent")
        for name in ("a", "b", "a\ud800", "")
        for day in (None, 0, 20_000)
    }
    assert len(names) == 2 * 2 * 4 * 3
    assert all(len(name) == 16 for name in names)


def test_a_day_ends_at_midnight_utc() -> None:
    assert day_of(DAY_MS - 1) == 0
    assert day_ends_ms(DAY_MS - 1) == DAY_MS
    assert day_ends_ms(DAY_MS) == 2 * DAY_MS


@given(st.integers(0, 10**12), st.lists(st.integers(0, 3), min_size=1, max_size=WINDOW_S))
def test_a_window_says_nothing_any_more_when_its_row_may_go(second: int, counts: list[int]) -> None:
    window = Window(second, tuple(counts))
    ends = ends_ms(window)
    assert ends is not None
    assert window.at(ends // 1000).total == 0
