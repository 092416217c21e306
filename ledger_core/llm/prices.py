"""What tokens cost, in whole micro-USD, rounded up: what costs anything costs at least one.

Who sets the price, first to last:

1. prices of the service's own settings, ``{"model": [input_per_million, output_per_million]}`` in
   USD; cached and audio tokens cost there what others cost;
2. the provider's own bill, where it sends one (OpenRouter's ``usage.cost``);
3. genai-prices, whose data come with the package: nothing is fetched. Cache, audio, reasoning and
   web search prices, tiers by input size, prices by date, time of day and service tier are its.

A model that nobody has a price for costs None, never zero. genai-prices' library takes 70 µs for a
price; what it knows of a model is kept here as factors, which a test compares with its own sums.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from importlib.metadata import version
from typing import Final

import msgspec
from genai_prices import data_snapshot
from genai_prices.types import ModelInfo, Provider, TieredPrices, TimeOfDateConstraint

from ledger_core import limits
from ledger_core.errors import MalformedError, SettingsError
from ledger_core.llm import loading
from ledger_core.llm.model import Usage

BILLED: Final = "provider@usage.cost"
_GENAI: Final = f"genai-prices@{version('genai-prices')}"
_KNOWN_MODELS: Final = 4_096
_DATED: Final = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$")

_Factor = Decimal | TieredPrices
Rates = tuple[Decimal, Decimal]
"""USD for a million tokens: input, output."""


class Price(msgspec.Struct, frozen=True):
    """What a call costs, who says so (name@version), and which model was priced."""

    cost_microusd: int
    source: str
    model: str


class _Parts(msgspec.Struct, frozen=True):
    """A usage split so that no token stands in two parts."""

    tokens_in: int
    counts: dict[str, int]


class _Plan(msgspec.Struct, frozen=True):
    """A model as genai-prices knows it, and its factors where the time of day changes nothing."""

    info: ModelInfo
    provider: Provider
    factors: dict[str, _Factor] | None


class Prices:
    """All prices; safe to share between threads, bounded in what it remembers."""

    def __init__(self, own: Mapping[str, Rates] | None = None) -> None:
        self._own = {model.lower(): rates for model, rates in (own or {}).items()}
        told = repr(sorted(self._own.items())).encode()
        self._own_source = f"settings@{sha256(told).hexdigest()[:12]}"
        self._plans: dict[tuple[str | None, str, str | None, date], _Plan | None] = {}
        self._snapshot = _snapshot()

    def price(
        self,
        usage: Usage,
        models: Sequence[str | None],
        provider: str | None = None,
        *,
        at: datetime | None = None,
        service_tier: str | None = None,
    ) -> Price | None:
        """Price a usage; ``models`` are the names it may go by, best first.

        None where nobody knows a price, or the usage tells no tokens.
        """
        named = [model for model in models if model]
        for model in named:
            if own := self._own_rates(model):
                return self._by_own(usage, model, own)
        if usage.cost_microusd is not None:
            return Price(usage.cost_microusd, BILLED, named[0] if named else "")
        if usage.tokens_in is None and usage.tokens_out is None:
            return None
        when = at or datetime.now(UTC)
        for model in named:
            if plan := self._plan(provider, model, service_tier, when):
                cost = _cost(plan, usage, plan.factors or _factors(plan, when, service_tier))
                if cost is not None:
                    return Price(cost, _GENAI, f"{plan.provider.id}/{plan.info.id}")
        return None

    def is_priced(self, models: Sequence[str | None], provider: str | None = None) -> bool:
        """Say whether a call of one of these models would get a price."""
        return self.price(Usage(tokens_in=1, tokens_out=1), models, provider) is not None

    def context_tokens(self, model: str | None, provider: str | None = None) -> int | None:
        """How many tokens the model takes at most, where that is known."""
        plan = self._plan(provider, model, None, datetime.now(UTC)) if model else None
        return plan.info.context_window if plan else None

    def _own_rates(self, model: str) -> Rates | None:
        """Find the rates of a model: its name, without its date, without its provider."""
        if not self._own:
            return None
        told = model.lower()
        short = told.rpartition("/")[2]
        for name in (told, _DATED.sub("", told), short, _DATED.sub("", short)):
            if name in self._own:
                return self._own[name]
        return None

    def _by_own(self, usage: Usage, model: str, rates: Rates) -> Price | None:
        if usage.tokens_in is None and usage.tokens_out is None:
            return None
        cost = (usage.tokens_in or 0) * rates[0] + (usage.tokens_out or 0) * rates[1]
        return Price(_whole(cost), self._own_source, model)

    def _plan(
        self, provider: str | None, model: str, tier: str | None, at: datetime
    ) -> _Plan | None:
        key = (provider, model, tier, at.astimezone(UTC).date())
        if key not in self._plans:
            if len(self._plans) >= _KNOWN_MODELS:
                # Names come from clients; the library keeps all it was ever asked for.
                self._plans, self._snapshot = {}, _snapshot()
            self._plans[key] = self._look_up(provider, model, tier, at)
        return self._plans[key]

    def _look_up(
        self, provider: str | None, model: str, tier: str | None, at: datetime
    ) -> _Plan | None:
        tries = [(provider, model), (None, model)]
        maker, slash, rest = model.partition("/")
        if slash:
            tries.append((maker, rest))
        for provider_id, reference in tries:
            try:
                found, info = self._snapshot.find_provider_model(reference, None, provider_id, None)
            except LookupError:
                continue
            plan = _Plan(info, found, None)
            if _hourly(info):
                return plan
            return _Plan(info, found, _factors(plan, at, tier))
        return None


def _snapshot() -> data_snapshot.DataSnapshot:
    """The bundled data with memories of their own."""
    bundled = data_snapshot.get_snapshot()
    return data_snapshot.DataSnapshot(providers=bundled.providers, from_auto_update=False)


def _hourly(info: ModelInfo) -> bool:
    """Say whether the time of day makes a difference."""
    standing = info.prices if isinstance(info.prices, list) else []
    constraints = [each.constraint for each in (*standing, *(info.price_variants or ()))]
    return any(isinstance(each, TimeOfDateConstraint) for each in constraints)


def _factors(plan: _Plan, at: datetime, tier: str | None) -> dict[str, _Factor]:
    context = {"service_tier": tier} if tier and plan.info.price_variants else None
    told = vars(plan.info.get_prices(at.astimezone(UTC), context)).items()
    return {key: value for key, value in told if isinstance(value, Decimal | TieredPrices)}


def _cost(plan: _Plan, usage: Usage, factors: Mapping[str, _Factor]) -> int | None:
    is_free = plan.info.id.endswith(":free") and not factors
    if usage.tokens_in and "input_mtok" not in factors and not is_free:
        return None
    if usage.tokens_out and "output_mtok" not in factors and not is_free:
        return None
    parts = _split(usage, factors)
    cost = Decimal(0)
    for key, count in parts.counts.items():
        if count > 0:
            cost += count * _rate(factors[key], parts.tokens_in)
    return _whole(cost)


def _rate(factor: _Factor, tokens_in: int) -> Decimal:
    """USD for a million tokens, which is micro-USD for one."""
    if isinstance(factor, Decimal):
        return factor
    reached = [tier.price for tier in factor.tiers if tokens_in > tier.start]
    return reached[-1] if reached else factor.base


def _split(usage: Usage, factors: Mapping[str, _Factor]) -> _Parts:
    """Split a usage over the prices there are; what has no price of its own costs as the rest.

    Contradictory numbers (more cached than there was input) are taken as they are told, and the
    rest is then none: too much is charged rather than too little.
    """
    whole_in, whole_out = usage.tokens_in or 0, usage.tokens_out or 0
    write, hour = usage.tokens_cache_write or 0, usage.tokens_cache_write_1h or 0
    counts: dict[str, int] = {}
    rest = whole_in
    if "cache_write_1h_mtok" in factors:
        counts["cache_write_1h_mtok"] = hour
        write, rest = max(write - hour, 0), rest - hour
    for key, count in (
        ("cache_write_mtok", write),
        ("cache_read_mtok", usage.tokens_cached or 0),
        ("input_audio_mtok", usage.tokens_audio_in or 0),
    ):
        if key in factors:
            counts[key] = count
            rest -= count
    out = whole_out
    for key, count in (
        ("output_audio_mtok", usage.tokens_audio_out or 0),
        ("output_reasoning_mtok", usage.tokens_reasoning or 0),
    ):
        if key in factors:
            counts[key] = count
            out -= count
    if "input_mtok" in factors:
        counts["input_mtok"] = max(rest, 0)
    if "output_mtok" in factors:
        counts["output_mtok"] = max(out, 0)
    # Prices for a thousand are told in USD as well: a thousand times those for a million.
    for key, count in (("web_searches_kcount", usage.web_searches or 0), ("requests_kcount", 1)):
        if key in factors:
            counts[key] = 1_000 * count
    return _Parts(whole_in, counts)


def _whole(microusd: Decimal) -> int:
    whole = int(microusd)
    return min(whole + (whole < microusd), limits.MAX_INTEGER)


def parse_rates(data: bytes) -> dict[str, Rates]:
    """Read prices in the compat format; raise :class:`SettingsError` for anything else."""
    try:
        told = loading.load_object(data)
    except MalformedError as error:
        raise SettingsError(f"prices: {error}") from None
    return {model: _pair(model, pair) for model, pair in told.items()}


def _pair(model: str, pair: object) -> Rates:
    if isinstance(pair, list) and len(pair) == 2:
        numbers = [loading.number(each) for each in pair]
        rates = [Decimal(repr(each)) for each in numbers if each is not None and 0 <= each < 1e9]
        if len(rates) == 2:
            return rates[0], rates[1]
    raise SettingsError(
        f"prices: {model[:80]!r} needs [input, output], USD for a million tokens each"
    )
