"""What tokens cost: what genai-prices says, rounded up, and never zero for what is unknown."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices import data_snapshot
from genai_prices.types import ModelInfo, Provider
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledger_core.errors import SettingsError
from ledger_core.llm import prices
from ledger_core.llm.model import Usage
from ledger_core.llm.prices import Prices

AT = datetime(2026, 8, 1, 12, tzinfo=UTC)
PRICES = Prices()
PRICES_SOURCE = f"genai-prices@{genai_prices.__version__}"

ALL = [
    (provider, model)
    for provider in data_snapshot.get_snapshot().providers
    for model in provider.models
]
TOKEN_KEYS = {
    "input_mtok",
    "output_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "output_reasoning_mtok",
    "web_searches_kcount",
    "storage_searches_kcount",
    "requests_kcount",
}


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    cached, write, plain = (draw(st.integers(0, 300_000)) for _ in range(3))
    reasoning, text = (draw(st.integers(0, 50_000)) for _ in range(2))
    return Usage(
        tokens_in=cached + write + plain,
        tokens_out=reasoning + text,
        tokens_cached=cached,
        tokens_cache_write=write,
        tokens_cache_write_1h=draw(st.integers(0, write)),
        tokens_reasoning=reasoning,
        web_searches=draw(st.integers(0, 20)),
    )


@settings(max_examples=400)
@given(st.sampled_from(ALL), usages())
def test_every_model_costs_what_the_library_says(
    of: tuple[Provider, ModelInfo], usage: Usage
) -> None:
    provider, model = of
    assume(finds_itself(provider, model))
    factors = {key for key, value in vars(model.get_prices(AT)).items() if value is not None}
    assume({"input_mtok", "output_mtok"} <= factors <= TOKEN_KEYS)
    ours = PRICES.price(usage, [model.id], provider.id, at=AT)
    theirs = genai_prices.Usage(
        input_tokens=usage.tokens_in,
        output_tokens=usage.tokens_out,
        cache_read_tokens=usage.tokens_cached,
        cache_write_tokens=usage.tokens_cache_write,
        cache_write_1h_tokens=usage.tokens_cache_write_1h,
        output_reasoning_tokens=usage.tokens_reasoning,
        web_searches=usage.web_searches,
    )
    found = model.calc_price(theirs, provider, genai_request_timestamp=AT)
    cost = math.ceil(found.total_price * 1_000_000)
    assert ours == prices.Price(cost, PRICES_SOURCE, f"{provider.id}/{model.id}")


def finds_itself(provider: Provider, model: ModelInfo) -> bool:
    """Not every model of the library is found by its own name there."""
    return provider.find_model(model.id) is model


def test_a_dated_model_of_a_known_provider_has_a_price_with_its_source() -> None:
    usage = Usage(tokens_in=1_000, tokens_out=100)
    price = PRICES.price(usage, ["gpt-4o-2024-08-06"], "openai", at=AT)
    assert price
    assert price.cost_microusd == 2_500 + 1_000
    assert price.model == "openai/gpt-4o"
    assert price.source == PRICES_SOURCE


def test_cached_and_written_tokens_have_their_own_prices() -> None:
    usage = Usage(
        tokens_in=1_000_000, tokens_out=0, tokens_cached=500_000, tokens_cache_write=100_000
    )
    price = PRICES.price(usage, ["claude-haiku-4-5"], "anthropic", at=AT)
    assert price
    assert price.cost_microusd == 400_000 + 50_000 + 125_000


def test_spoken_tokens_have_their_own_prices() -> None:
    usage = Usage(
        tokens_in=1_000_000, tokens_out=100_000, tokens_audio_in=500_000, tokens_audio_out=50_000
    )
    price = PRICES.price(usage, ["gpt-4o-realtime-preview"], "openai", at=AT)
    theirs = genai_prices.Usage(
        input_tokens=1_000_000,
        output_tokens=100_000,
        input_audio_tokens=500_000,
        output_audio_tokens=50_000,
    )
    found = genai_prices.calc_price(theirs, "gpt-4o-realtime-preview", provider_id="openai")
    assert "input_audio_mtok" in vars(found.model_price)
    assert price
    assert price.cost_microusd == math.ceil(found.total_price * 1_000_000)


def test_a_cost_is_rounded_up_and_never_down_to_zero() -> None:
    price = PRICES.price(Usage(tokens_in=1, tokens_out=0), ["gpt-4o-mini"], "openai", at=AT)
    assert price
    assert price.cost_microusd == 1


def test_an_unknown_model_has_no_price_and_not_the_price_zero() -> None:
    usage = Usage(tokens_in=1_000, tokens_out=100)
    assert PRICES.price(usage, ["house-model-7"], "openai") is None
    assert PRICES.price(usage, ["x/y/z"], None) is None
    assert PRICES.price(usage, [None], "openai") is None
    assert PRICES.price(Usage(), ["gpt-4o"], "openai") is None
    assert not PRICES.is_priced(["house-model-7"], "openai")


def test_models_that_cost_no_tokens_as_far_as_is_known_have_no_price_for_tokens() -> None:
    usage = Usage(tokens_in=1_000, tokens_out=100)
    priced = {"input_mtok", "output_mtok"}
    for provider, model in ALL:
        factors = {key for key, value in vars(model.get_prices(AT)).items() if value is not None}
        found = PRICES.price(usage, [model.id], provider.id, at=AT)
        assert (
            found is None
            or factors & priced
            or model.id.endswith(":free")
            or (found.model != f"{provider.id}/{model.id}")
        )


def test_the_provider_s_own_bill_counts_before_the_price_list() -> None:
    usage = Usage(tokens_in=1_000, tokens_out=100, cost_microusd=77)
    price = PRICES.price(usage, ["gpt-4o"], "openrouter")
    assert price == prices.Price(77, prices.BILLED, "gpt-4o")


def test_prices_of_one_s_own_count_before_all_others() -> None:
    own = Prices(prices.parse_rates(b'{"GPT-4o":[1.5,2],"local":[0.1,0]}'))
    usage = Usage(tokens_in=1_000, tokens_out=100, cost_microusd=77)
    for model in ("gpt-4o", "GPT-4o", "openai/gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-latest"):
        price = own.price(usage, [model], "openai")
        assert price
        assert price.cost_microusd == 1_500 + 200
        assert price.source.startswith("settings@")
    other = own.price(Usage(tokens_in=1_000_000, tokens_out=0), ["gpt-4o-mini"], "openai", at=AT)
    assert other
    assert other.cost_microusd == 150_000
    local = own.price(Usage(tokens_in=1, tokens_out=1), ["local"])
    assert local
    assert local.cost_microusd == 1


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"[]",
        b'{"m":1}',
        b'{"m":[1]}',
        b'{"m":[1,2,3]}',
        b'{"m":[-1,2]}',
        b'{"m":["1","2"]}',
        b'{"m":[true,2]}',
        b'{"m":[NaN,2]}',
        b'{"m":[1e300,2]}',
    ],
)
def test_prices_that_are_none_are_refused(told: bytes) -> None:
    with pytest.raises(SettingsError):
        prices.parse_rates(told)


def test_other_prices_by_date_are_the_ones_of_the_date() -> None:
    usage = Usage(tokens_in=1_000_000, tokens_out=0)
    costs = {
        day: PRICES.price(usage, ["o3"], "openai", at=datetime(2025, *day, tzinfo=UTC))
        for day in ((5, 1), (8, 1))
    }
    assert [price and price.cost_microusd for price in costs.values()] == [10_000_000, 2_000_000]


def test_contradictory_counts_cost_no_less_than_what_they_tell() -> None:
    usage = Usage(tokens_in=10, tokens_out=0, tokens_cached=1_000_000)
    price = PRICES.price(usage, ["gpt-4o"], "openai", at=AT)
    assert price
    assert price.cost_microusd == 1_250_000


def test_names_made_up_by_clients_are_not_remembered_for_ever() -> None:
    own = Prices()
    for place in range(300):
        own.price(Usage(tokens_in=1), [f"made-up-{place}"], "openai")
    assert len(own._plans) <= prices._KNOWN_MODELS


def test_importing_prices_opens_no_socket_and_starts_no_thread() -> None:
    code = """
import json, sys, threading
made = []
sys.addaudithook(lambda name, _: made.append(name) if name.startswith("socket.") else None)
from ledger_core.llm.model import Usage
from ledger_core.llm.prices import Prices
Prices().price(Usage(tokens_in=1, tokens_out=1), ["gpt-4o"], "openai")
print(json.dumps([made, threading.active_count()]))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(ran.stdout) == [[], 1]


def test_a_price_is_a_whole_number_of_micro_usd() -> None:
    assert prices._whole(Decimal("0.0000001")) == 1
    assert prices._whole(Decimal(3)) == 3
