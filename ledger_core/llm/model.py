"""What a call asked and what came back, the same for every wire format.

An absent value is unknown, never zero. Texts are as the provider or client wrote them, except that
lone surrogates became U+FFFD (nothing could store them). Names (models, ids, reasons) are short
and without NUL, so that they fit into columns; contents may hold NUL.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

ToolKind = Literal["function", "custom", "builtin"]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    ``messages`` and ``tools`` are the lists as sent (Responses: ``input``, a plain text being one
    user message). ``tool_results`` are ``{"tool_call_id" | "tool_use_id", "content", …}``.
    ``user_id`` is what the body claims. ``wants_usage`` says that the client itself asked for
    ``stream_options.include_usage``; ``is_background`` that it does not wait for the answer, which
    the provider makes all the same. ``input_chars`` counts the text of the whole input, of which
    ``wide_chars`` are not ASCII; ``media`` has one kind for each image, audio, video or file.
    """

    model: str | None = None
    stream: bool = False
    messages: list[Any] | None = None
    system_prompt: str | None = None
    tools: list[Any] | None = None
    tool_results: list[dict[str, Any]] | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    n: int = 1
    user_id: str | None = None
    wants_usage: bool = False
    is_background: bool = False
    input_chars: int = 0
    wide_chars: int = 0
    media: tuple[str, ...] = ()
    parse_error: str | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the provider counts them.

    ``tokens_in`` is the whole input: what was read from a cache or written into one is part of it,
    as audio is. ``tokens_out`` includes reasoning and audio. ``cost_microusd`` is the provider's
    own bill, where it sends one (OpenRouter), rounded up.
    """

    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    tokens_cache_write: int | None = None
    tokens_cache_write_1h: int | None = None
    tokens_reasoning: int | None = None
    tokens_audio_in: int | None = None
    tokens_audio_out: int | None = None
    web_searches: int | None = None
    cost_microusd: int | None = None

    @property
    def tokens_audio(self) -> int | None:
        """Audio in both directions; None if neither is told."""
        if self.tokens_audio_in is None and self.tokens_audio_out is None:
            return None
        return (self.tokens_audio_in or 0) + (self.tokens_audio_out or 0)


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model called.

    ``arguments`` is the raw text where the provider sends text, and JSON where it sends JSON.
    ``builtin`` tools run at the provider's.
    """

    id: str | None = None
    name: str | None = None
    arguments: Any = None
    kind: ToolKind = "function"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of the answers; most requests get one."""

    index: int = 0
    content: str | None = None
    stop_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    refusal: str | None = None


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One response, whole or as far as it came.

    ``content``, ``reasoning`` and ``refusal`` join those of all choices, in order, with a blank
    line between choices; ``tool_calls`` are those of all choices. ``citations`` are as sent.
    ``counted_tokens`` is the answer of a token count, which uses none. ``is_unread``: there was
    more than could be read, and nobody knows how much was said.
    """

    response_id: str | None = None
    model: str | None = None
    content: str | None = None
    choices: tuple[Choice, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    stop_reason: str | None = None
    usage: Usage | None = None
    reasoning: str | None = None
    refusal: str | None = None
    citations: tuple[Any, ...] = ()
    service_tier: str | None = None
    error_type: str | None = None
    error_detail: str | None = None
    system_fingerprint: str | None = None
    counted_tokens: int | None = None
    parse_error: str | None = None
    is_unread: bool = False
