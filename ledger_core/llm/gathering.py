"""Putting answers together: pieces of a stream into a choice, choices into an answer."""

from __future__ import annotations

from typing import Any

import msgspec

from ledger_core import limits
from ledger_core.llm.loading import Object, detail, name, obj
from ledger_core.llm.model import Answered, Choice, ToolCall, ToolKind
from ledger_core.llm.weighing import join

_BETWEEN_CHOICES = "\n\n"


class _Call:
    """A tool call whose arguments are still coming."""

    def __init__(self, kind: ToolKind) -> None:
        self.kind: ToolKind = kind
        self.id: str | None = None
        self.name: str | None = None
        self.pieces: list[str] = []
        self.whole: Any = None

    def take(self, id_: Any, name_: Any, arguments: Any) -> None:
        self.id = self.id or name(id_)
        self.name = self.name or name(name_)
        if isinstance(arguments, str):
            self.pieces.append(arguments)
        elif arguments is not None:
            self.whole = arguments

    def call(self) -> ToolCall:
        arguments = "".join(self.pieces) if self.pieces else self.whole
        return ToolCall(id=self.id, name=self.name, arguments=arguments, kind=self.kind)


class Gathered:
    """One choice of a stream, as far as it came."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._stop_reason: str | None = None
        self._calls: list[_Call] = []
        self._open: dict[Any, _Call] = {}

    def say(self, piece: str | None) -> None:
        """Add to the content; an empty piece makes it known to be there."""
        if piece is not None:
            self._content.append(piece)

    def think(self, piece: str | None) -> None:
        """Add to the reasoning."""
        if piece:
            self._reasoning.append(piece)

    def refuse(self, piece: str | None) -> None:
        """Add to the refusal."""
        if piece:
            self._refusal.append(piece)

    def stop(self, reason: Any) -> None:
        """Note why it stopped; the last word counts."""
        self._stop_reason = name(reason) or self._stop_reason

    def call(self, key: Any, id_: Any, name_: Any, arguments: Any, kind: ToolKind) -> None:
        """Add to a tool call.

        Pieces of one call share ``key``. Servers that give every call the same key are told apart
        by the id: another one begins another call.
        """
        key = key if isinstance(key, int | str) else None
        opened = self._open.get(key)
        if opened is None or (name(id_) and opened.id and name(id_) != opened.id):
            if len(self._calls) >= limits.LLM_TOOL_CALLS:
                return
            opened = self._open[key] = _Call(kind)
            self._calls.append(opened)
        opened.take(id_, name_, arguments)

    def choice(self) -> Choice:
        """What came so far."""
        return Choice(
            index=self._index,
            content=join(self._content),
            stop_reason=self._stop_reason,
            tool_calls=tuple(each.call() for each in self._calls),
            reasoning=join(self._reasoning),
            refusal=join(self._refusal),
        )


def join_choices(answered: Answered, choices: tuple[Choice, ...]) -> Answered:
    """Give an answer its choices, and what is joined from them."""
    if len(choices) == 1:
        only = choices[0]
        content, reasoning, refusal = only.content, only.reasoning, only.refusal
        calls, stop_reason = only.tool_calls, only.stop_reason
    else:
        content, reasoning, refusal = (
            join([text for each in choices if (text := getattr(each, part))], _BETWEEN_CHOICES)
            for part in ("content", "reasoning", "refusal")
        )
        calls = tuple(call for each in choices for call in each.tool_calls)
        stop_reason = next((each.stop_reason for each in choices if each.stop_reason), None)
    return msgspec.structs.replace(
        answered,
        choices=choices,
        content=content,
        reasoning=reasoning,
        refusal=refusal,
        tool_calls=calls,
        stop_reason=stop_reason,
    )


def failure(body: Object) -> tuple[str | None, str | None]:
    """Read what went wrong, as providers and the frameworks around them say it: type and detail."""
    error = body.get("error")
    if not error:
        return None, None
    if not isinstance(error, dict):
        return None, detail(error)
    code = error.get("code")
    kind = name(error.get("type")) or (None if code is None else name(str(code)))
    raw = obj(error.get("metadata")).get("raw")
    told = [detail(each) for each in (error.get("message"), raw) if each]
    return kind, detail(": ".join(each for each in told if each)) or detail(error)
