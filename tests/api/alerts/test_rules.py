"""When calls are worth an alert, and that each matter is told once a window."""

from __future__ import annotations

from typing import Any

import pytest

from api.alerts.rules import DAY_MS, ErrorRate, Raised, Rules, Thresholds
from api.feed import Ended
from tests.support.ended import make_ended, make_refusal

NOW_MS = 1_785_579_072_345
ALL = Thresholds(
    cost_per_call_microusd=1_000_000,
    latency_ms=10_000,
    error_rate=0.5,
    daily_spend_microusd=5_000_000,
)


def judge(rules: Rules, now_ms: int = NOW_MS, **fields: Any) -> list[Raised]:
    return rules.judge(make_ended(**fields), now_ms)


def kinds(raised: list[Raised]) -> list[str]:
    return [each.alert.type for each in raised]


def test_an_expensive_call_is_told_with_what_it_cost() -> None:
    (raised,) = judge(Rules(ALL), cost_microusd=1_500_000)
    alert = raised.alert
    assert (alert.type, alert.value, alert.threshold) == ("high_cost", 1_500_000, 1_000_000)
    assert (alert.action_id, alert.session_id, alert.agent_name) == ("act-1", "s-1", "planner")
    assert alert.message == "One call cost $1.5000; told from $1.0000 on."
    assert alert.timestamp == "2026-08-01T10:11:12.345Z"


def test_a_slow_call_is_told() -> None:
    (raised,) = judge(Rules(ALL), latency_ms=10_001)
    assert (raised.alert.type, raised.alert.value) == ("high_latency", 10_001)


def test_what_reaches_no_threshold_is_not_told() -> None:
    assert judge(Rules(ALL), cost_microusd=1_000_000, latency_ms=10_000) == []
    unknown: dict[str, Any] = {"cost_microusd": None, "cost_basis": "unknown", "latency_ms": None}
    assert judge(Rules(ALL), **unknown) == []


def test_nothing_is_told_of_what_nobody_asked_for() -> None:
    rules = Rules(Thresholds())
    for _ in range(50):
        assert judge(rules, cost_microusd=10**9, latency_ms=10**9, status_code=500) == []
    assert rules.judge_day(10**12, NOW_MS) == []


def test_the_same_is_told_once_a_window_and_agent() -> None:
    rules = Rules(ALL)
    start_ms = NOW_MS - NOW_MS % 300_000
    assert len(judge(rules, start_ms, cost_microusd=2_000_000)) == 1
    assert judge(rules, start_ms + 299_999, cost_microusd=3_000_000) == []
    assert len(judge(rules, start_ms, cost_microusd=2_000_000, agent_name="other")) == 1
    assert len(judge(rules, start_ms, cost_microusd=2_000_000, agent_name=None)) == 1
    assert len(judge(rules, start_ms + 300_000, cost_microusd=2_000_000)) == 1


def test_many_failures_within_five_minutes_are_told() -> None:
    rules = Rules(ALL)
    told = [each for n in range(20) for each in judge(rules, NOW_MS + n, status_code=500)]
    assert kinds(told) == ["high_error_rate"]
    assert told[0].alert.value == 1.0
    assert told[0].alert.message.startswith("10 of 10 calls failed within 5 minutes")


def test_a_share_is_taken_of_no_fewer_than_ten_calls() -> None:
    rules = Rules(ALL)
    assert [judge(rules, status_code=500) for _ in range(9)] == [[]] * 9


def test_failures_of_long_ago_do_not_count() -> None:
    rules = Rules(ALL)
    for n in range(9):
        judge(rules, NOW_MS + n, status_code=500)
    assert judge(rules, NOW_MS + 301_000, status_code=500) == []


@pytest.mark.parametrize(
    ("fields", "fails"),
    [
        ({"status_code": 400}, True),
        ({"status_code": 200}, False),
        ({"ended": "upstream_failed", "status_code": 200}, True),
        ({"ended": "timed_out", "status_code": None}, True),
        ({"ended": "client_left", "status_code": 200}, False),
    ],
)
def test_what_counts_as_a_failure(fields: dict[str, Any], fails: bool) -> None:
    rules = Rules(ALL)
    told = [each for _ in range(10) for each in judge(rules, **fields)]
    assert kinds(told) == (["high_error_rate"] if fails else [])


def test_refusals_are_no_failures() -> None:
    rules = Rules(ALL)
    refusal = Ended(make_refusal(reason="rate_limit_exceeded"), 1)
    assert [rules.judge(refusal, NOW_MS) for _ in range(20)] == [[]] * 20


def test_a_budget_that_refuses_is_told_once_a_day_and_budget() -> None:
    rules = Rules(ALL)
    refused = Ended(make_refusal(), 1)
    (raised,) = rules.judge(refused, NOW_MS)
    assert (raised.alert.type, raised.alert.value) == ("budget_exceeded", 1_000_100)
    assert raised.alert.message == "A budget (session) is used up: $1.0001 of $1.0000."
    assert rules.judge(refused, NOW_MS + 3_600_000) == []
    for other in ({"session_id": "s-2"}, {"scope": "daily"}, {"scope": "user", "user_id": "eve"}):
        assert len(rules.judge(Ended(make_refusal(**other), 2), NOW_MS)) == 1
    assert len(rules.judge(refused, NOW_MS + DAY_MS)) == 1


def test_the_name_of_a_person_stands_in_no_message() -> None:
    refused = Ended(make_refusal(scope="user", user_id="eve@example.org"), 1)
    (raised,) = Rules(ALL).judge(refused, NOW_MS)
    assert "eve" not in str(raised.alert)


def test_a_budget_that_only_warns_is_told_too() -> None:
    over = Ended(make_ended().call, 1, over_budget=(("agent", 7_000_000, 5_000_000),))
    (raised,) = Rules(ALL).judge(over, NOW_MS)
    assert (raised.alert.type, raised.alert.threshold) == ("budget_exceeded", 5_000_000)


def test_a_days_spending_is_told_once_a_day() -> None:
    rules = Rules(ALL)
    assert rules.judge_day(5_000_000, NOW_MS) == []
    (raised,) = rules.judge_day(5_000_001, NOW_MS)
    assert (raised.alert.type, raised.since_ms) == ("daily_spend", NOW_MS - NOW_MS % DAY_MS)
    assert rules.judge_day(9_000_000, NOW_MS + 1000) == []
    assert len(rules.judge_day(9_000_000, NOW_MS + DAY_MS)) == 1


def test_the_memory_of_what_was_told_is_bounded() -> None:
    rules = Rules(ALL)
    for n in range(12_000):
        judge(rules, cost_microusd=2_000_000, agent_name=f"agent-{n}")
    assert len(rules._raised) == 10_000


def test_a_clock_that_goes_back_does_not_confuse_the_rate() -> None:
    rate = ErrorRate()
    for now_s in (1000, 900, 1001, 5, 1002):
        rate.count(True, now_s)
    assert (rate.calls, rate.errors) == (5, 5)
    rate.count(False, 2000)
    assert (rate.calls, rate.errors) == (1, 0)
