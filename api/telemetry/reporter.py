"""Sends calls as spans to an OpenTelemetry collector, beside everything else.

::

    feed --> thread: makes spans --> backlog, bounded --> thread: OTLP over HTTP --> collector

The first thread never waits for the collector, so what a call's words weigh is soon let go. A
collector that is away or does not answer costs spans, the oldest first; each is counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from api.feed import Backlog, Ended, Feed
from api.telemetry.attributes import Value
from api.telemetry.content import Redact, read_content, weigh
from api.telemetry.spans import SpanMaker
from ledger_core.records.types.llm_refused import LlmRefused

log = structlog.get_logger("ledgergrid")

_QUEUE = 4096
_SLICE = 4
_BATCH = 32
_PAUSE_S = 0.001
"""Who holds the interpreter for long makes calls wait: so little at a time, and then a pause."""
_BATCH_BYTES = 4 * 1024 * 1024
_LOOK_S = 0.2
_LOUD_S = 60.0
"""How often it is said at most that the collector does not take what it is sent."""


@dataclass(frozen=True)
class Collector:
    """Where spans go; ``headers`` are secrets."""

    endpoint: str
    headers: dict[str, str]
    timeout_s: float


class SpanReporter:
    """Two threads; ``on_spans`` hears of ``sent``, ``failed`` and ``dropped`` spans."""

    def __init__(
        self,
        feed: Feed,
        collector: Collector,
        make_maker: Callable[[Callable[[ReadableSpan], None]], SpanMaker],
        *,
        with_content: bool = False,
        redact: Redact | None = None,
        on_spans: Callable[[str, int], None] = lambda outcome, count: None,
    ) -> None:
        self._calls = feed.subscribe("spans", _QUEUE, wants_content=True)
        self._spans: Backlog[ReadableSpan] = Backlog(_QUEUE)
        self._maker = make_maker(self._keep)
        self._with_content = with_content
        self._redact = redact
        self._on_spans = on_spans
        # What it would log holds no more than we say ourselves, and more often.
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
        self._exporter = OTLPSpanExporter(
            collector.endpoint,
            headers=collector.headers,
            timeout=collector.timeout_s,
            compression=Compression.Gzip,
        )
        self._complained_s = -_LOUD_S
        self._closing = threading.Event()
        self._is_drained = threading.Event()
        self._making = threading.Thread(target=self._make, name="spans-make", daemon=True)
        self._sending = threading.Thread(target=self._send, name="spans-send", daemon=True)

    def start(self) -> None:
        self._making.start()
        self._sending.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what is there, for as long as that takes but no longer than this."""
        end_s = time.monotonic() + timeout_s
        self._closing.set()
        if self._making.is_alive():
            self._making.join(timeout_s)
        if self._sending.is_alive():
            self._sending.join(max(0.0, end_s - time.monotonic()))
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        left = len(self._spans)
        if left:
            self._on_spans("dropped", left)

    @property
    def calls_lost(self) -> int:
        """Calls that went by before a span was made of them."""
        return self._calls.dropped

    # --- making ------------------------------------------------------------------

    def _make(self) -> None:
        while not self._closing.wait(_LOOK_S):
            self._make_all()
        self._make_all()
        self._is_drained.set()

    def _make_all(self) -> None:
        while calls := self._calls.take(_SLICE):
            self._closing.wait(_PAUSE_S)
            for ended in calls:
                try:
                    self._maker.make(ended, self._content_of(ended))
                except Exception:
                    # A mistake of ours costs this one span, and is told.
                    log.exception("a span could not be made")
                    self._on_spans("failed", 1)

    def _content_of(self, ended: Ended) -> dict[str, Value]:
        """Return what was said, if that is asked for and nobody said that it is not kept."""
        call = ended.call
        if not self._with_content or isinstance(call, LlmRefused) or call.level == "metadata":
            return {}
        return read_content(ended, self._redact)

    def _keep(self, span: ReadableSpan) -> None:
        dropped = self._spans.put(span, weigh(span.attributes))
        if dropped:
            self._on_spans("dropped", dropped)

    # --- sending -----------------------------------------------------------------

    def _send(self) -> None:
        while not self._is_drained.wait(_LOOK_S):
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while spans := self._spans.take(_BATCH, _BATCH_BYTES):
            self._closing.wait(_PAUSE_S)
            is_sent = self._exporter.export(spans) is SpanExportResult.SUCCESS
            self._on_spans("sent" if is_sent else "failed", len(spans))
            if not is_sent:
                self._complain(len(spans))

    def _complain(self, count: int) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s >= _LOUD_S:
            self._complained_s = now_s
            log.warning("the collector did not take spans", spans=count)
