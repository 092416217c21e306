"""Anthropic messages and count_tokens.

Anthropic's ``input_tokens`` leaves out what was read from the cache or written into it. Here
``tokens_in`` is the whole input: ``input_tokens + cache_creation_input_tokens +
cache_read_input_tokens``; the parts of it stay in ``tokens_cached`` and ``tokens_cache_write``.
Where ``usage.iterations`` lists several passes over the input (compaction), the numbers beside it
are those of the last pass only; what is billed is the sum over all, and so is what is read here.

In a stream, ``message_start`` brings a first usage and ``message_delta`` its fields anew, as totals
and not as differences: what comes later replaces what came before, field by field.

Sources: https://docs.claude.com/en/api/messages,
https://docs.claude.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Any, Final

from ledger_core import limits
from ledger_core.errors import MalformedError
from ledger_core.llm.gathering import failure, join_choices
from ledger_core.llm.loading import Object, count, load, name, number, obj, objects, text
from ledger_core.llm.model import Answered, Asked, Choice, ToolCall, Usage
from ledger_core.llm.weighing import Scales, join, text_of

ENDS: Final = frozenset({"message_stop", "error"})
"""The events that end a stream."""

_BLOCK_PIECES: Final = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


def read_request(body: Object) -> Asked:
    """Read a request's JSON."""
    scales = Scales()
    system = body.get("system")
    scales.content(system)
    told = [said] if (said := text_of(system)) is not None else []
    results: list[Object] = []
    for message in objects(body.get("messages")):
        content = message.get("content")
        scales.content(content)
        if message.get("role") == "system":
            told.append(text_of(content) or "")
        results += [_result(each) for each in objects(content) if each.get("type") == "tool_result"]
    tools = body.get("tools")
    scales.json(tools)
    return Asked(
        model=name(body.get("model")),
        stream=body.get("stream") is True,
        messages=body["messages"] if isinstance(body.get("messages"), list) else None,
        system_prompt=join(told, "\n"),
        tools=tools if isinstance(tools, list) else None,
        tool_results=results or None,
        temperature=number(body.get("temperature")),
        max_tokens=count(body.get("max_tokens")),
        user_id=name(obj(body.get("metadata")).get("user_id")),
        # Usage is always sent.
        wants_usage=True,
        input_chars=scales.chars,
        wide_chars=scales.wide,
        media=tuple(scales.media),
    )


def _result(block: Object) -> Object:
    told = {"tool_use_id": block.get("tool_use_id"), "content": block.get("content")}
    return {**told, "is_error": True} if block.get("is_error") is True else told


def read_usage(usage: Any) -> Usage | None:
    """Read the ``usage`` of an answer; None where there is none."""
    if not isinstance(usage, dict):
        return None
    passes = objects(usage.get("iterations")) or [usage]

    def total(*fields: str) -> int | None:
        told = [count(each.get(field)) for each in passes for field in fields]
        return sum(each or 0 for each in told) if any(each is not None for each in told) else None

    writes = [obj(each.get("cache_creation")) for each in passes]
    hours = [count(each.get("ephemeral_1h_input_tokens")) for each in writes]
    made = obj(usage.get("output_tokens_details"))
    return Usage(
        tokens_in=total("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
        tokens_out=total("output_tokens"),
        tokens_cached=total("cache_read_input_tokens"),
        tokens_cache_write=total("cache_creation_input_tokens"),
        tokens_cache_write_1h=sum(each or 0 for each in hours) if any(hours) else None,
        tokens_reasoning=count(made.get("thinking_tokens")),
        web_searches=count(obj(usage.get("server_tool_use")).get("web_search_requests")),
    )


def read_answer(body: Object) -> Answered:
    """Read an answer's JSON."""
    blocks = objects(body.get("content"))
    error_type, error_detail = failure(body)
    answered = Answered(
        response_id=name(body.get("id")),
        model=name(body.get("model")),
        usage=read_usage(body.get("usage")),
        citations=tuple(note for block in blocks for note in objects(block.get("citations"))),
        service_tier=name(obj(body.get("usage")).get("service_tier")),
        error_type=error_type,
        error_detail=error_detail,
    )
    if "content" not in body:
        return answered
    stopped = name(body.get("stop_reason"))
    said = join(_texts(blocks, "text"))
    choice = Choice(
        content=said,
        stop_reason=stopped,
        tool_calls=tuple(
            call for block in blocks[: limits.LLM_TOOL_CALLS] for call in _calls(block)
        ),
        reasoning=join(_texts(blocks, "thinking"), "\n\n"),
        # A refusal is told by the stop reason alone; what was said until then is its text.
        refusal=(said or "") if stopped == "refusal" else None,
    )
    return join_choices(answered, (choice,))


def _texts(blocks: list[Object], kind: str) -> list[str]:
    """The texts of all blocks of a kind; the block's text is in the field named like it."""
    return [
        told
        for block in blocks
        if block.get("type") == kind and (told := text(block.get(kind))) is not None
    ]


def _calls(block: Object) -> list[ToolCall]:
    kind = block.get("type")
    if kind not in ("tool_use", "server_tool_use", "mcp_tool_use"):
        return []
    return [
        ToolCall(
            id=name(block.get("id")),
            name=name(block.get("name")),
            arguments=block.get("input"),
            kind="function" if kind == "tool_use" else "builtin",
        )
    ]


def read_count(body: Object) -> Answered:
    """Read the answer of count_tokens: counting uses no tokens."""
    error_type, error_detail = failure(body)
    counted = count(body.get("input_tokens"))
    return Answered(
        usage=None if counted is None else Usage(tokens_in=0, tokens_out=0),
        counted_tokens=counted,
        error_type=error_type,
        error_detail=error_detail,
    )


class Stream:
    """Puts the events of a stream together again."""

    def __init__(self) -> None:
        self._message: Object = {}
        self._usage: Object = {}
        self._error: Object = {}
        self._blocks: dict[int, Object] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}
        self._citations: dict[int, list[Object]] = {}

    def take(self, event: Object) -> None:
        """Take one event's data."""
        kind = event.get("type")
        if kind == "message_start":
            self._message = dict(obj(event.get("message")))
            self._merge(self._message.get("usage"))
        elif kind == "content_block_start":
            place = count(event.get("index"))
            if place is not None and len(self._blocks) < limits.LLM_TOOL_CALLS:
                self._blocks[place] = dict(obj(event.get("content_block")))
        elif kind == "content_block_delta":
            self._delta(count(event.get("index")), obj(event.get("delta")))
        elif kind == "message_delta":
            told = obj(event.get("delta"))
            self._message |= {field: value for field, value in told.items() if value is not None}
            self._merge(event.get("usage"))
        elif kind == "error":
            self._error = event

    def _merge(self, usage: Any) -> None:
        self._usage |= {field: told for field, told in obj(usage).items() if told is not None}

    def _delta(self, place: int | None, delta: Object) -> None:
        if place is None or place not in self._blocks:
            return
        if isinstance(delta.get("citation"), dict):
            self._citations.setdefault(place, []).append(delta["citation"])
        kind = delta.get("type")
        field = _BLOCK_PIECES.get(kind) if isinstance(kind, str) else None
        piece = text(delta.get(field)) if field else None
        if field and piece:
            self._pieces.setdefault((place, field), []).append(piece)

    def answered(self) -> Answered:
        """What came so far."""
        message: Object = {"content": [], **self._message} if self._message else {}
        if self._usage:
            message["usage"] = self._usage
        if self._blocks:
            message["content"] = [self._block(place) for place in sorted(self._blocks)]
        if self._error:
            message["error"] = self._error.get("error")
        return read_answer(message)

    def _block(self, place: int) -> Object:
        block = dict(self._blocks[place])
        for field in ("text", "thinking", "signature"):
            if pieces := self._pieces.get((place, field)):
                block[field] = (text(block.get(field)) or "") + "".join(pieces)
        if cited := self._citations.get(place):
            block["citations"] = objects(block.get("citations")) + cited
        if given := self._pieces.get((place, "partial_json")):
            block["input"] = _arguments("".join(given))
        return block


def _arguments(given: str) -> Any:
    """A tool's input as it would stand in a whole answer; cut off, it stays text."""
    try:
        return load(given.encode("utf-8", "replace"))
    except MalformedError:
        return given
