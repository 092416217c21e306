"""Settings of the proxy: where calls go, what is kept of them, and what they may cost.

Amounts are US dollars, as in setups made for other proxies of this kind; inside they are
integers of micro-USD.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings

COMPAT_NAMES = frozenset(
    {
        "upstream_url",
        "extra_paths",
        "budget_session",
        "budget_agent",
        "budget_user",
        "budget_daily",
        "budget_action",
        "rate_limit_rpm",
        "rate_limit_session_rpm",
        "rate_limit_agent_rpm",
        "rate_limit_user_rpm",
        "pricing",
        "pricing_file",
    }
)
"""Settings of this file that are read under the other prefix too."""

MICRO = Decimal(1_000_000)
_MOST_USD = Decimal(1_000_000_000)


def or_none(value: object) -> object:
    """Take an empty variable for none."""
    return None if value == "" else value


_Amount = Annotated[Decimal, Field(ge=0, le=_MOST_USD, decimal_places=6)]
_Rate = Annotated[int, Field(ge=0, le=10_000_000)]
Usd = Annotated[_Amount | None, BeforeValidator(or_none)]
PerMinute = Annotated[_Rate | None, BeforeValidator(or_none)]


class CaptureSettings(BaseSettings):
    """What an operator may choose of the proxy."""

    upstream_url: str = Field(
        default="",
        max_length=2000,
        description="Where calls go: a provider or a gateway, without the `/v1` at its end. Empty: "
        "Anthropic's calls to Anthropic, all others to OpenAI.",
    )
    extra_paths: str = Field(
        default="",
        max_length=4000,
        description="Paths outside `/v1/` that are calls too, with commas between: exact, or "
        "ending in `/*`.",
    )
    upstream_connect_s: float = Field(
        default=15.0, gt=0, le=600, description="How long connecting to the upstream may take."
    )
    upstream_silence_s: float = Field(
        default=3600.0,
        gt=0,
        le=86_400,
        description="How long the upstream may be silent, before its answer or within it.",
    )
    ask_for_usage: bool = Field(
        default=True,
        description="Whether streamed chat completions are asked for their token counts, where "
        "the client did not; what then comes is kept from the client.",
    )
    capture_level: Literal["full", "metadata"] = Field(
        default="full",
        description="What is kept of a call: `full`, with request and response, or `metadata`, "
        "digests and numbers only.",
    )
    capture_unavailable: Literal["refuse", "queue"] = Field(
        default="refuse",
        description="What becomes of calls while the ledger takes no records: they are refused "
        "(503), or pass, without budgets and rates, and wait in the outbox.",
    )
    outbox_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1024 * 1024,
        le=2**40,
        description="What each worker's outbox in the data folder holds at most.",
    )
    redact: str = Field(
        default="",
        max_length=4000,
        description="What is made unreadable in the stored copy, with commas between: `email`, "
        "`card`, `ssn`, `ip`, `key`, or `all`. What is forwarded stays as it is.",
    )
    redact_patterns: str = Field(
        default="",
        max_length=8000,
        description="More of it: a JSON list of regular expressions.",
    )
    budget_session: Usd = Field(
        default=None, description="What one session may cost, in USD. Empty: no limit."
    )
    budget_agent: Usd = Field(default=None, description="What one agent may cost a UTC day.")
    budget_user: Usd = Field(default=None, description="What one user may cost a UTC day.")
    budget_daily: Usd = Field(default=None, description="What all calls may cost a UTC day.")
    budget_credential: Usd = Field(
        default=None, description="What calls with one LedgerGrid token may cost a UTC day."
    )
    budget_action: Literal["block", "warn", "both"] = Field(
        default="block",
        description="What a spent budget does: calls are refused (429), or answered with a "
        "warning in a header and in the record; `both` refuses and warns from four fifths on.",
    )
    rate_limit_rpm: PerMinute = Field(
        default=None, description="Calls a minute, of all together. Empty: no limit."
    )
    rate_limit_session_rpm: PerMinute = Field(default=None, description="… of one session.")
    rate_limit_agent_rpm: PerMinute = Field(default=None, description="… of one agent.")
    rate_limit_user_rpm: PerMinute = Field(default=None, description="… of one user.")
    allow_models: str = Field(
        default="",
        max_length=8000,
        description="Models that may be asked, as patterns (`gpt-5*`) with commas between. Empty: "
        "any.",
    )
    deny_models: str = Field(
        default="", max_length=8000, description="Models that may not be asked; goes first."
    )
    allow_providers: str = Field(
        default="", max_length=8000, description="Providers that may be asked. Empty: any."
    )
    deny_providers: str = Field(
        default="", max_length=8000, description="Providers that may not be asked; goes first."
    )
    refuse_unpriced: bool = Field(
        default=False,
        description="Whether calls of models whose price is not known are refused.",
    )
    pricing: str = Field(
        default="",
        max_length=1_000_000,
        description='Prices that go before the known ones: JSON, `{"model": [input, output]}` '
        "in USD a million tokens.",
    )
    pricing_file: Path | None = Field(
        default=None, description="File with such prices; those in `PRICING` go first."
    )

    @field_validator("upstream_url")
    @classmethod
    def _check_upstream(cls, value: str) -> str:
        if not value:
            return value
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
            raise ValueError("a URL as https://HOST/PATH")
        if url.username or url.password:
            raise ValueError("no credentials in URLs: agents bring their own keys")
        return value


def listed(text: str) -> tuple[str, ...]:
    """Return what a setting lists with commas between."""
    return tuple(part for each in text.split(",") if (part := each.strip()))


def to_microusd(usd: Decimal | None) -> int | None:
    """Return an amount in micro-USD."""
    return None if usd is None else int(usd * MICRO)
