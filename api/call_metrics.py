"""What Prometheus reads of calls. No session, user or agent is ever a label.

A model is a label once a call of it went well, and only the first hundred are: names of models
come out of requests, and anybody can make some up. The rest are ``other``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from api.feed import Ended
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_refused import LlmRefused

MODELS = 100
OTHER = "other"
_PROVIDERS = 20
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 3600)
_FIRST_TOKEN_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30, 60)
_TOKENS = {
    "input": "tokens_in",
    "output": "tokens_out",
    "cached": "tokens_cached",
    "cache_write": "tokens_cache_write",
    "reasoning": "tokens_reasoning",
}


@dataclass(frozen=True)
class _Bound:
    """The counters of one provider, model and status."""

    calls: Counter
    tokens: list[tuple[str, Counter]]
    cost: Counter
    seconds: Histogram
    first_token: Histogram


class CallMetrics:
    """Counts calls as they end; all of them, whatever becomes of spans and alerts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        mine: Any = {"registry": registry, "namespace": "ledgergrid"}
        of_model = ("provider", "model")
        self._calls = Counter("calls", "Calls that ended.", (*of_model, "status"), **mine)
        self._refused = Counter("calls_refused", "Calls that were refused.", ("reason",), **mine)
        self._tokens = Counter(
            "call_tokens", "Tokens; input includes cached, output reasoning.",
            (*of_model, "kind"), **mine,
        )  # fmt: skip
        self._cost = Counter("call_cost_microusd", "Cost where it is known.", of_model, **mine)
        self._seconds = Histogram(
            "call_seconds", "Time to the end of a call.", ("provider",), buckets=_SECONDS, **mine
        )
        self._first_token = Histogram(
            "call_first_token_seconds", "Time to the first token of a stream.", ("provider",),
            buckets=_FIRST_TOKEN_SECONDS, **mine,
        )  # fmt: skip
        self._unreported = Counter(
            "calls_unreported", "Calls that a reporter lost because it could not keep up.",
            ("reporter",), **mine,
        )  # fmt: skip
        self._spans = Counter("spans", "Spans for the collector.", ("outcome",), **mine)
        self._alerts = Counter("alerts", "Alerts raised and sent.", ("type", "outcome"), **mine)
        # Looking labels up costs more than counting.
        self._bound: dict[tuple[str, str, str], _Bound] = {}
        self._models: set[tuple[str, str]] = set()
        self._providers: set[str] = set()

    def count(self, ended: Ended) -> None:
        """Count a call that ended or was refused."""
        call = ended.call
        if isinstance(call, LlmRefused):
            self._refused.labels(call.reason).inc(call.calls)
            return
        named = (*self._name(call), _status_of(call))
        bound = self._bound.get(named)
        if bound is None:
            bound = self._bound[named] = self._bind(*named)
        bound.calls.inc()
        for field, counter in bound.tokens:
            count = getattr(call, field)
            if count:
                counter.inc(count)
        if call.cost_microusd:
            bound.cost.inc(call.cost_microusd)
        if call.latency_ms is not None:
            bound.seconds.observe(call.latency_ms / 1000)
        if call.first_token_ms is not None and call.stream:
            bound.first_token.observe(call.first_token_ms / 1000)

    def _bind(self, provider: str, model: str, status: str) -> _Bound:
        return _Bound(
            self._calls.labels(provider, model, status),
            [(of, self._tokens.labels(provider, model, kind)) for kind, of in _TOKENS.items()],
            self._cost.labels(provider, model),
            self._seconds.labels(provider),
            self._first_token.labels(provider),
        )

    def count_unreported(self, reporter: str, count: int) -> None:
        """Count calls that a reporter (feed.py) never heard of."""
        self._unreported.labels(reporter).inc(count)

    def count_spans(self, outcome: str, count: int) -> None:
        """Count spans ``sent``, ``failed`` and ``dropped``."""
        self._spans.labels(outcome).inc(count)

    def count_alert(self, kind: str, outcome: str) -> None:
        """Count an alert ``raised``, ``delivered``, ``failed`` or ``dropped``."""
        self._alerts.labels(kind, outcome).inc()

    def _name(self, call: LlmCall2) -> tuple[str, str]:
        provider = call.provider
        if provider not in self._providers:
            if len(self._providers) >= _PROVIDERS:
                return OTHER, OTHER
            self._providers.add(provider)
        named = (provider, call.model_id or OTHER)
        if named not in self._models:
            if _status_of(call) != "2xx" or len(self._models) >= MODELS:
                return provider, OTHER
            self._models.add(named)
        return named


def _status_of(call: LlmCall2) -> str:
    """Return how a call ended, in few words."""
    if call.ended != "complete":
        return call.ended
    return f"{call.status_code // 100}xx" if call.status_code else "unknown"
