"""Estimates: what is reserved before a call, and what a call cost that nobody counted."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger_core.llm import estimate, wire
from ledger_core.llm.model import Answered, Asked, Choice, ToolCall, Usage
from ledger_core.llm.prices import Prices

PRICES = Prices()


def asked(**fields: Any) -> Asked:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 400}], **fields}
    return wire.parse_request("openai.chat", json.dumps(body).encode())


def answered(**fields: Any) -> Answered:
    choice = Choice(content=fields.get("content"), stop_reason=fields.get("stop_reason"))
    return Answered(model="gpt-4o-2024-08-06", choices=(choice,), **fields)


def test_four_characters_are_a_token_and_every_sign_beyond_ascii_is_one() -> None:
    assert estimate.input_tokens(asked()) == 100 + 4
    wide = asked(messages=[{"role": "user", "content": "日本語" * 100}])
    assert estimate.input_tokens(wide) == 300 + 4


def test_an_image_weighs_as_an_image_and_not_as_its_base64() -> None:
    data = "data:image/png;base64," + "A" * 4_000_000
    part = {"type": "image_url", "image_url": {"url": data}}
    assert estimate.input_tokens(asked(messages=[{"role": "user", "content": [part]}])) == 1_504


def test_a_reservation_is_input_and_the_whole_output_that_is_allowed() -> None:
    reserved = estimate.reserve(PRICES, asked(max_tokens=1_000, n=3), "openai.chat", "openai")
    # 104 tokens at 2.5, 3,000 at 10 USD a million.
    assert reserved == 260 + 30_000
    default = estimate.reserve(PRICES, asked(), "openai.chat", "openai")
    assert default == 260 + 10 * estimate.DEFAULT_OUTPUT_TOKENS


def test_no_maximum_is_larger_than_the_model_s_context() -> None:
    reserved = estimate.reserve(PRICES, asked(max_tokens=10**15), "openai.chat", "openai")
    assert reserved == 260 + 10 * 128_000


def test_counting_tokens_is_free_and_embeddings_have_no_output() -> None:
    assert estimate.reserve(PRICES, asked(), "anthropic.count_tokens", "anthropic") == 0
    usage = estimate.reserved_usage(asked(), "openai.embeddings")
    assert (usage.tokens_in, usage.tokens_out) == (104, 0)
    cost = estimate.settle(PRICES, asked(model="x"), Answered(), "anthropic.count_tokens")
    assert (cost.microusd, cost.basis) == (0, "estimated")


def test_a_model_without_a_price_reserves_nothing_known() -> None:
    assert estimate.reserve(PRICES, asked(model="house-1"), "openai.chat", "openai") is None


def test_what_the_provider_counted_is_what_a_call_cost() -> None:
    usage = Usage(tokens_in=1_000, tokens_out=100)
    told = answered(content="hi", stop_reason="stop", usage=usage)
    cost = estimate.settle(PRICES, asked(), told, "openai.chat", provider="openai", status=200)
    assert (cost.microusd, cost.basis, cost.usage) == (3_500, "provider", usage)
    assert cost.model == "openai/gpt-4o"


def test_a_stream_without_usage_does_not_pass_for_free() -> None:
    cut = answered(content="word" * 100)
    cost = estimate.settle(PRICES, asked(), cut, "openai.chat", provider="openai", status=200)
    assert cost.basis == "estimated"
    assert cost.usage == Usage(tokens_in=104, tokens_out=100)
    assert cost.microusd == 260 + 1_000


def test_a_stream_cut_off_costs_what_came_and_not_what_its_beginning_counted() -> None:
    """Anthropic's first event counts an output of one token."""
    told = answered(content="word" * 100, usage=Usage(tokens_in=90, tokens_out=1))
    cost = estimate.settle(PRICES, asked(), told, "openai.chat", provider="openai", status=200)
    assert cost.usage == Usage(tokens_in=90, tokens_out=100)
    assert cost.basis == "estimated"


def test_a_tool_call_s_arguments_are_output() -> None:
    calls = (ToolCall(arguments={"city": "Paris"}), ToolCall(arguments="x" * 40))
    used = estimate.used(asked(), Answered(tool_calls=calls), "openai.chat", 200)
    assert used.tokens_out == 4 + 10


def test_an_error_costs_nothing() -> None:
    cost = estimate.settle(PRICES, asked(), Answered(error_type="x"), "openai.chat", status=429)
    assert (cost.microusd, cost.basis) == (0, "estimated")


def test_a_model_nobody_knows_has_an_unknown_cost() -> None:
    told = Answered(usage=Usage(tokens_in=5, tokens_out=5))
    cost = estimate.settle(PRICES, asked(model="house-1"), told, "openai.chat", status=200)
    assert (cost.microusd, cost.basis, cost.usage) == (None, "unknown", told.usage)


@given(st.text(), st.integers(0, 2**53), st.integers(0, 2**53))
def test_estimates_are_whole_numbers_and_not_negative(text: str, most: int, n: int) -> None:
    request = asked(messages=[{"role": "user", "content": text}], max_tokens=most, n=n)
    reserved = estimate.reserve(PRICES, request, "openai.chat", "openai")
    assert reserved is not None
    assert 0 <= reserved < 2**53
    assert estimate.input_tokens(request) >= 0
