"""Tokens before they are counted, and money where nobody counted: estimates, told as such.

Input: four characters of ASCII are a token, every other character is one; an image is 1,500 tokens,
a minute of anything else the same, a file 3,000; a message adds four. That is high for prose and
about right for code and for Chinese, Japanese and Korean.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from ledger_core import limits
from ledger_core.llm.dialects import Wire
from ledger_core.llm.model import Answered, Asked, Usage
from ledger_core.llm.prices import Prices

DEFAULT_OUTPUT_TOKENS: Final = 4_096
"""Reserved where a request sets no maximum."""

_MEDIA_TOKENS: Final = {"image": 1_500, "audio": 1_500, "video": 15_000, "file": 3_000}
_MESSAGE_TOKENS: Final = 4
_NO_OUTPUT: Final[frozenset[Wire]] = frozenset({"openai.embeddings", "anthropic.count_tokens"})
_FREE: Final[frozenset[Wire]] = frozenset({"anthropic.count_tokens"})
_UNFINISHED: Final = frozenset({None, "queued", "in_progress"})
"""The status of an answer that goes on being made, whoever waits for it."""

Basis = Literal["provider", "estimated", "unknown"]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a call used and cost, and on whose word.

    ``unknown``: nobody has a price for it, which is not zero. ``source`` is name@version.
    """

    usage: Usage | None
    basis: Basis
    microusd: int | None = None
    source: str | None = None
    model: str | None = None


FREE: Final = Cost(usage=None, basis="estimated", microusd=0)
"""Of what was paid for before."""


def input_tokens(asked: Asked) -> int:
    """Estimate the tokens of a request's input."""
    media = sum(_MEDIA_TOKENS.get(each, 0) for each in asked.media)
    messages = _MESSAGE_TOKENS * len(asked.messages or ())
    return _text_tokens(asked.input_chars, asked.wide_chars) + media + messages


def _text_tokens(chars: int, wide_chars: int) -> int:
    return wide_chars + -(-(chars - wide_chars) // 4)


def reserved_usage(asked: Asked, wire: Wire, context_tokens: int | None = None) -> Usage:
    """The most that a request may use: its input, and all the output that it allows.

    A model's context bounds what may be asked for; without a maximum ``DEFAULT_OUTPUT_TOKENS``.
    """
    if wire in _FREE:
        return Usage(tokens_in=0, tokens_out=0)
    most = asked.max_tokens or DEFAULT_OUTPUT_TOKENS
    if context_tokens:
        most = min(most, context_tokens)
    out = 0 if wire in _NO_OUTPUT else min(most * max(asked.n, 1), limits.MAX_INTEGER)
    return Usage(tokens_in=input_tokens(asked), tokens_out=out)


def reserve(
    prices: Prices, asked: Asked, wire: Wire, provider: str | None, at: datetime | None = None
) -> int | None:
    """What to hold of a budget before a call, in micro-USD; None where the model has no price."""
    context_tokens = prices.context_tokens(asked.model, provider)
    usage = reserved_usage(asked, wire, context_tokens)
    if wire in _FREE:
        return 0
    price = prices.price(usage, [asked.model], provider, at=at)
    return price.cost_microusd if price else None


def used(
    asked: Asked,
    answered: Answered,
    wire: Wire,
    status: int | None,
    context_tokens: int | None = None,
) -> Usage:
    """Estimate what a call used that told no usage: its input, and the output that came.

    Of what nobody could read, or does not wait for, all that was reserved: it may have been that
    much. A provider that answered with an error charges nothing.
    """
    if wire in _FREE or (status is not None and status >= 400):
        return Usage(tokens_in=0, tokens_out=0)
    if answered.is_unread or (asked.is_background and answered.stop_reason in _UNFINISHED):
        return reserved_usage(asked, wire, context_tokens)
    texts = [answered.content, answered.reasoning, answered.refusal]
    texts += [_text(call.arguments) for call in answered.tool_calls]
    out = sum(_tokens_of(text) for text in texts if text)
    return Usage(tokens_in=input_tokens(asked), tokens_out=out)


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()


def _tokens_of(text: str) -> int:
    if text.isascii():
        return _text_tokens(len(text), 0)
    return _text_tokens(len(text), sum(not each.isascii() for each in text))


def settle(
    prices: Prices,
    asked: Asked,
    answered: Answered,
    wire: Wire,
    *,
    provider: str | None = None,
    status: int | None = None,
    at: datetime | None = None,
) -> Cost:
    """Say what a call used and cost: by the provider's count where there is one, else estimated.

    A stream that broke off has told its input at best, and of its output what it had counted by
    then: the greater of that and what came is taken.
    """
    context_tokens = prices.context_tokens(asked.model, provider)
    usage, counted = _usage(asked, answered, wire, status, context_tokens)
    if not counted and not (usage.tokens_in or usage.tokens_out):
        return Cost(usage=usage, basis="estimated", microusd=0)
    models = (answered.model, asked.model)
    price = prices.price(usage, models, provider, at=at, service_tier=answered.service_tier)
    if price is None:
        return Cost(usage=usage if counted else None, basis="unknown")
    return Cost(
        usage=usage,
        basis="provider" if counted else "estimated",
        microusd=price.cost_microusd,
        source=price.source,
        model=price.model,
    )


def _usage(
    asked: Asked,
    answered: Answered,
    wire: Wire,
    status: int | None,
    context_tokens: int | None,
) -> tuple[Usage, bool]:
    """The usage, and whether the provider counted all of it."""
    told = answered.usage
    if told is None or (told.tokens_in is None and told.tokens_out is None):
        return used(asked, answered, wire, status, context_tokens), False
    if answered.choices and answered.stop_reason is None:
        guess = used(asked, answered, wire, status)
        if (guess.tokens_out or 0) > (told.tokens_out or 0):
            tokens_in = guess.tokens_in if told.tokens_in is None else told.tokens_in
            known = msgspec.structs.replace(told, tokens_in=tokens_in, tokens_out=guess.tokens_out)
            return known, False
        if asked.stream and wire == "anthropic.messages":
            return told, False  # What it had counted when it began to answer.
    return told, True
