"""``/metrics``: what Prometheus reads. Labels are bounded: routes, never ledgers or ids.

With several workers each process writes its numbers to files in ``PROMETHEUS_MULTIPROC_DIR``
(set by ``serve`` before the workers start), and whichever is asked adds them up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.call_metrics import CallMetrics

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
LEDGERS = 100
"""How many ledgers' sizes are shown."""

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RECORDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


@dataclass(frozen=True)
class LedgerNumbers:
    """One ledger's gauges; ``witnessed`` is None where no quorum is asked for."""

    name: str
    size: int
    witnessed: int | None = None
    not_witnessed_s: float = 0.0


_OF_CALLS = re.compile(r"ledgergrid_(calls?|spans|alerts)(_|$)")


class Metrics:
    """The numbers of one process; a registry of its own, so that two apps do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        mine: Any = {"registry": self._registry, "namespace": "ledgergrid"}
        self._requests = Counter(
            "http_requests", "Requests answered.", ("method", "route", "status"), **mine
        )
        self._request_seconds = Histogram(
            "http_request_seconds", "Time to the end of an answer.", ("route",), buckets=_SECONDS,
            **mine,
        )  # fmt: skip
        # Looking labels up costs more than counting.
        self._bound: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._outcomes: dict[str, Counter] = {}
        self._records = Counter("records", "Records judged.", ("outcome",), **mine)
        self._batch_records = Histogram(
            "batch_records", "Records in one transaction.", buckets=_RECORDS, **mine
        )
        self._waiting = Gauge(
            "records_waiting", "Records in the pool.", multiprocess_mode="livesum", **mine
        )
        self._streams = Gauge(
            "stream_readers", "Live streams open.", multiprocess_mode="livesum", **mine
        )

        self.calls = CallMetrics(self._registry)

    def observe(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count one answered request; status 0 means that nobody waited for the answer."""
        method = method if method in _METHODS else "other"
        bound = self._bound.get((method, route, status))
        if bound is None:
            bound = (
                self._requests.labels(method, route, str(status)),
                self._request_seconds.labels(route),
            )
            self._bound[method, route, status] = bound
        count, seconds = bound
        count.inc()
        seconds.observe(took_s)

    def observe_batch(self, records: int, waiting: int) -> None:
        """Count one batch given places in one transaction, and what waits behind it."""
        self._batch_records.observe(records)
        self._waiting.set(waiting)

    def count_outcome(self, outcome: str, count: int = 1) -> None:
        """Count judged records: ``new``, ``again`` or an error's code."""
        bound = self._outcomes.get(outcome)
        if bound is None:
            bound = self._outcomes[outcome] = self._records.labels(outcome)
        bound.inc(count)

    def open_stream(self) -> None:
        self._streams.inc()

    def close_stream(self) -> None:
        self._streams.dec()

    def expose(self, ledgers: Sequence[LedgerNumbers], *, with_calls: bool) -> bytes:
        """Format everything as text; ``ledgers`` are those that the asker may see.

        ``with_calls``: with what was counted of calls, which tells models and what they cost.
        """
        registry = self._registry
        if MULTIPROCESS_DIR in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        shown = CollectorRegistry()
        shown.register(_Ledgers(ledgers[:LEDGERS]))
        if not with_calls:
            registry = _without_calls(registry)
        return generate_latest(registry) + generate_latest(shown)


def _without_calls(registry: CollectorRegistry) -> CollectorRegistry:
    kept = CollectorRegistry()
    kept.register(_Families(each for each in registry.collect() if not _OF_CALLS.match(each.name)))
    return kept


class _Families(Collector):
    """Metrics that were collected already; given out once."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._families


class _Ledgers(Collector):
    def __init__(self, ledgers: Sequence[LedgerNumbers]) -> None:
        self._ledgers = ledgers

    def collect(self) -> Iterable[Metric]:
        asked = [each for each in self._ledgers if each.witnessed is not None]
        yield _gauge("ledger_entries", "Entries.", {x.name: x.size for x in self._ledgers})
        yield _gauge(
            "ledger_witnessed_entries",
            "Entries under a checkpoint that has its quorum of witnesses.",
            {x.name: x.witnessed or 0 for x in asked},
        )
        yield _gauge(
            "ledger_not_witnessed_seconds",
            "How long ago the first entry that should be witnessed by now was received; 0 if none.",
            {x.name: x.not_witnessed_s for x in asked},
        )


def _gauge(name: str, help_: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"ledgergrid_{name}", help_, labels=["ledger"])
    for ledger, value in values.items():
        family.add_metric([ledger], value)
    return family
