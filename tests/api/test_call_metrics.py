"""Metrics of calls: every call counts, and no name out of a request makes a label of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from api.call_metrics import MODELS, CallMetrics
from api.feed import Ended
from tests.support.ended import make_ended, make_refusal


class Counted:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = CallMetrics(self.registry)

    @property
    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"ledgergrid_{name}", labels) or 0.0


def test_a_call_counts_with_tokens_cost_and_times() -> None:
    counted = Counted()
    counted.metrics.count(make_ended(stream=True, first_token_ms=250))
    named = {"provider": "openai", "model": "gpt-5"}
    assert counted.value("calls_total", **named, status="2xx") == 1
    assert counted.value("call_tokens_total", **named, kind="input") == 120
    assert counted.value("call_tokens_total", **named, kind="cached") == 100
    assert counted.value("call_tokens_total", **named, kind="reasoning") == 8
    assert counted.value("call_cost_microusd_total", **named) == 1250
    assert counted.value("call_seconds_sum", provider="openai") == 1.5
    assert counted.value("call_first_token_seconds_sum", provider="openai") == 0.25


def test_refusals_count_by_reason_and_not_as_calls() -> None:
    counted = Counted()
    counted.metrics.count(Ended(make_refusal(), 1))
    # One record may stand for many of a flood.
    counted.metrics.count(Ended(make_refusal(calls=40), 2))
    assert counted.value("calls_refused_total", reason="budget_exceeded") == 41
    assert "ledgergrid_calls_total{" not in counted.text


def test_a_call_that_did_not_end_well_counts_by_how_it_ended() -> None:
    counted = Counted()
    for ended in ("client_left", "upstream_failed", "timed_out"):
        counted.metrics.count(make_ended(ended=ended))
    counted.metrics.count(make_ended(status_code=503))
    counted.metrics.count(make_ended(status_code=None))
    named = {"provider": "openai", "model": "other"}
    for status in ("client_left", "upstream_failed", "timed_out", "5xx", "unknown"):
        assert counted.value("calls_total", **named, status=status) == 1


def test_a_model_that_no_provider_knew_makes_no_label() -> None:
    counted = Counted()
    for n in range(5):
        counted.metrics.count(make_ended(model_id=f"made-up-{n}", status_code=404))
    assert "made-up" not in counted.text
    assert counted.value("calls_total", provider="openai", model="other", status="4xx") == 5


def test_models_beyond_the_hundredth_are_one() -> None:
    counted = Counted()
    for n in range(MODELS + 50):
        counted.metrics.count(make_ended(model_id=f"model-{n}"))
    assert counted.value("calls_total", provider="openai", model="other", status="2xx") == 50
    assert f'model="model-{MODELS - 1}"' in counted.text
    assert f'model="model-{MODELS}"' not in counted.text


def test_providers_are_bounded_too() -> None:
    counted = Counted()
    for n in range(40):
        counted.metrics.count(make_ended(provider=f"provider-{n}"))
    assert counted.value("calls_total", provider="other", model="other", status="2xx") == 20


def test_no_session_user_or_agent_is_a_label() -> None:
    counted = Counted()
    counted.metrics.count(make_ended(session_id="s-77", user_id="u-77", agent_name="a-77"))
    assert all(name not in counted.text for name in ("s-77", "u-77", "a-77"))
