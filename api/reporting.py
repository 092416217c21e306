"""Joins what reports on calls: spans for a collector, alerts for a webhook and the log."""

from __future__ import annotations

from typing import Protocol

from api.alerts.payloads import Format
from api.alerts.rules import Rules, Thresholds
from api.alerts.targets import parse_target
from api.alerts.watch import AlertWatch, Sources
from api.alerts.webhook import Webhook
from api.call_metrics import CallMetrics
from api.capture_settings import to_microusd
from api.feed import Feed
from api.redacting import open_redactor
from api.settings import Settings
from api.telemetry.reporter import Collector, SpanReporter
from api.telemetry.spans import SpanMaker
from ledger_core.errors import NotFoundError
from ledger_core.ledger import Ledger
from ledger_core.ledgers import Ledgers
from ledger_core.policy.calls import DAY_MS
from ledger_core.storage.call_reading import CallReading, Scope
from ledger_core.storage.database import Database


class Reporter(Protocol):
    """Runs beside the service, and never in its way."""

    def start(self) -> None: ...

    def close(self) -> None: ...


def open_reporters(
    settings: Settings,
    version: str,
    database: Database,
    ledgers: Ledgers,
    feed: Feed,
    metrics: CallMetrics,
) -> list[Reporter]:
    """Make those reporters that the settings ask for."""
    found: list[Reporter] = []
    if settings.otel_endpoint:
        found.append(_open_spans(settings, version, feed, metrics))
    thresholds = _thresholds(settings)
    webhook = open_webhook(settings)
    if webhook is not None or thresholds.are_any:
        found.append(
            AlertWatch(
                feed,
                Rules(thresholds),
                _sources(settings, ledgers, database, thresholds),
                webhook,
                on_alert=metrics.count_alert,
            )
        )
    return found


def open_webhook(settings: Settings) -> Webhook | None:
    """Return the webhook that alerts go to, if there is one."""
    url = settings.alert_webhook_url.get_secret_value()
    if not url:
        return None
    target = parse_target(url, allows_private=settings.alert_allow_private)
    form: Format | None = None if settings.alert_format == "auto" else settings.alert_format
    return Webhook(target, form, settings.alert_pagerduty_key.get_secret_value())


def _open_spans(settings: Settings, version: str, feed: Feed, metrics: CallMetrics) -> SpanReporter:
    redactor = open_redactor(settings)
    return SpanReporter(
        feed,
        Collector(settings.otel_traces_url, settings.otel_header_fields, settings.otel_timeout_s),
        lambda on_span: SpanMaker(
            on_span,
            service_name=settings.otel_service_name,
            version=version,
            ledger=settings.capture_ledger,
            legacy=settings.otel_legacy_names,
        ),
        with_content=settings.otel_content,
        redact=None if redactor is None else lambda text: redactor.redact_text(text)[0],
        on_spans=metrics.count_spans,
    )


def _sources(
    settings: Settings, ledgers: Ledgers, database: Database, asked: Thresholds
) -> Sources:
    reading = CallReading(database, ledgers.views)

    def find() -> Ledger:
        return ledgers.get(settings.capture_ledger)

    def read_spent(now_ms: int) -> int | None:
        """Return what the day's calls cost so far, of all processes."""
        try:
            scope = Scope(find().ledger_id)
        except NotFoundError:
            return None
        today = now_ms // DAY_MS
        rows = reading.spending(scope, ["day"], today, today + 1)
        return sum(int(row["cost_microusd"]) for row in rows)

    return Sources(find, None if asked.daily_spend_microusd is None else read_spent)


def _thresholds(settings: Settings) -> Thresholds:
    return Thresholds(
        cost_per_call_microusd=to_microusd(settings.alert_cost_per_call),
        latency_ms=settings.alert_latency_ms,
        error_rate=settings.alert_error_rate,
        daily_spend_microusd=to_microusd(settings.alert_daily_spend),
        window_ms=settings.alert_window_s * 1000,
    )
