"""The wire formats: which path speaks which, and what reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, Protocol

from ledger_core.llm import (
    anthropic_messages,
    generic,
    loading,
    openai_chat,
    openai_embeddings,
    openai_responses,
)
from ledger_core.llm.loading import Object
from ledger_core.llm.model import Answered, Asked

Wire = Literal[
    "openai.chat",
    "openai.responses",
    "openai.embeddings",
    "anthropic.messages",
    "anthropic.count_tokens",
    "other",
]

_PATHS: Final[tuple[tuple[tuple[str, ...], Wire], ...]] = (
    (("chat", "completions"), "openai.chat"),
    (("responses",), "openai.responses"),
    (("embeddings",), "openai.embeddings"),
    # Not any path's messages: those of OpenAI's threads are something else.
    (("v1", "messages"), "anthropic.messages"),
    (("messages", "count_tokens"), "anthropic.count_tokens"),
)


def wire_of(path: str) -> Wire:
    """Name the wire format of a path: what its last segments say, in any case, query or not."""
    segments = tuple(each for each in path.partition("?")[0].lower().split("/") if each)
    for last, wire in _PATHS:
        if segments[-len(last) :] == last:
            return wire
    return "other"


class Stream(Protocol):
    """Puts the events of a stream together again."""

    def take(self, event: Object) -> None: ...

    def answered(self) -> Answered: ...


class Dialect(NamedTuple):
    """How one wire format is read; ``ends`` are the types of events that nothing follows."""

    read_request: Callable[[Object], Asked]
    read_answer: Callable[[Object], Answered]
    load_answer: Callable[[bytes], Object] = loading.load_object
    stream: Callable[[], Stream] = generic.Stream
    ends: frozenset[str] = frozenset()


DIALECTS: Final[dict[Wire, Dialect]] = {
    "openai.chat": Dialect(
        openai_chat.read_request, openai_chat.read_answer, stream=openai_chat.Stream
    ),
    "openai.responses": Dialect(
        openai_responses.read_request,
        openai_responses.read_answer,
        stream=openai_responses.Stream,
        ends=openai_responses.ENDS,
    ),
    "openai.embeddings": Dialect(
        openai_embeddings.read_request,
        openai_embeddings.read_answer,
        openai_embeddings.load_answer,
    ),
    "anthropic.messages": Dialect(
        anthropic_messages.read_request,
        anthropic_messages.read_answer,
        stream=anthropic_messages.Stream,
        ends=anthropic_messages.ENDS,
    ),
    "anthropic.count_tokens": Dialect(
        anthropic_messages.read_request, anthropic_messages.read_count
    ),
    "other": Dialect(generic.read_request, generic.read_answer),
}
