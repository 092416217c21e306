"""Settings of what is reported about calls: spans and alerts."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import unquote

import httpx
from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from api.alerts.targets import parse_target
from api.capture_settings import Usd, or_none
from ledger_core.errors import SettingsError

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_TRACES = "/v1/traces"
_Most = Annotated[Annotated[float, Field(ge=0, le=1e9)] | None, BeforeValidator(or_none)]
_Share = Annotated[Annotated[float, Field(ge=0, le=1)] | None, BeforeValidator(or_none)]

COMPAT_NAMES = frozenset(
    {
        "otel_endpoint",
        "otel_service_name",
        "otel_headers",
        "alert_webhook_url",
        "alert_cost_per_call",
        "alert_latency_ms",
        "alert_error_rate",
        "alert_daily_spend",
        "alert_format",
        "alert_pagerduty_key",
    }
)


class ReportSettings(BaseSettings):
    """A part of :class:`api.settings.Settings`."""

    otel_endpoint: str = Field(
        default="",
        max_length=2000,
        description="OpenTelemetry collector that each call is sent to as a span, by OTLP over "
        "HTTP: `http://localhost:4318`; `/v1/traces` is added. Empty: none.",
    )
    otel_service_name: str = Field(
        default="ledgergrid", min_length=1, max_length=200, description="`service.name` of spans."
    )
    otel_headers: SecretStr = Field(
        default=SecretStr(""),
        description="Headers for the collector: `name=value`, commas between, values as in a URL.",
    )
    otel_content: bool = Field(
        default=False,
        description="Whether spans carry what was said: prompts, answers, names of tools.",
    )
    otel_legacy_names: bool = Field(
        default=False,
        description="Whether spans carry older names too: `gen_ai.system`, `http.status_code`, "
        "`agentledger.*`.",
    )
    otel_timeout_s: float = Field(
        default=10.0, ge=0.1, le=60, description="How long the collector may take to answer."
    )

    alert_allow_private: bool = Field(
        default=False,
        description="Whether the webhook may be on this machine, also without TLS, or in a "
        "private network.",
    )
    alert_webhook_url: SecretStr = Field(
        default=SecretStr(""),
        description="Where alerts are posted: `https://…`. Empty: they are only kept in the log.",
    )
    alert_format: Literal["auto", "generic", "slack", "discord", "pagerduty"] = Field(
        default="auto", description="What is posted; `auto` goes by the webhook's host."
    )
    alert_pagerduty_key: SecretStr = Field(
        default=SecretStr(""), description="Integration key of PagerDuty's Events API v2."
    )
    alert_cost_per_call: Usd = Field(
        default=None, description="USD beyond which a call is told. Empty: never."
    )
    alert_latency_ms: _Most = Field(
        default=None, description="Time beyond which a call is told. Empty: never."
    )
    alert_error_rate: _Share = Field(
        default=None,
        description="Share of calls (0.5: half) failing within five minutes beyond which that is "
        "told. Empty: never.",
    )
    alert_daily_spend: Usd = Field(
        default=None, description="USD on a UTC day beyond which that is told. Empty: never."
    )
    alert_window_s: int = Field(
        default=300, ge=1, le=86_400, description="How often the same is told at most."
    )

    @field_validator("otel_endpoint")
    @classmethod
    def _check_endpoint(cls, value: str) -> str:
        if not value:
            return value
        try:
            url = httpx.URL(value)
        except httpx.InvalidURL:
            raise ValueError("no URL") from None
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query:
            raise ValueError("a URL is http(s)://HOST[:PORT][/PATH], without user and query")
        return value

    @field_validator("otel_headers")
    @classmethod
    def _check_headers(cls, value: SecretStr) -> SecretStr:
        parse_headers(value.get_secret_value())
        return value

    @field_validator("alert_webhook_url")
    @classmethod
    def _check_webhook(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if value.get_secret_value():
            allows = bool(info.data.get("alert_allow_private"))
            try:
                parse_target(value.get_secret_value(), allows_private=allows)
            except SettingsError as error:
                raise ValueError(str(error)) from None
        return value

    @property
    def otel_traces_url(self) -> str:
        """Where spans are posted; empty if nowhere."""
        url = self.otel_endpoint.rstrip("/")
        return url if not url or url.endswith(_TRACES) else url + _TRACES

    @property
    def otel_header_fields(self) -> dict[str, str]:
        """The headers for the collector; secrets."""
        return parse_headers(self.otel_headers.get_secret_value())


def parse_headers(text: str) -> dict[str, str]:
    """Read ``name=value,…``; raises :class:`ValueError` that repeats nothing of it."""
    found: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = pair.partition("=")
        name, value = name.strip(), unquote(value.strip())
        # Whoever sends a bad header says its value in the error.
        if not (equals and _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise ValueError("headers are name=value, commas between, values as in a URL")
        found[name.lower()] = value
    return found
