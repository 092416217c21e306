"""OpenAI responses: output items, built-in tools, reasoning summaries, refusals, annotations.

The answer is one choice. Its ``stop_reason`` is the reason of an incomplete response, else its
status. Tools that run at OpenAI's are ``builtin``, named by their item's type without ``_call``
(``web_search``), except those of an MCP server, which have a name.

Sources: https://platform.openai.com/docs/api-reference/responses,
https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from typing import Any, Final

from ledger_core import limits
from ledger_core.llm import money
from ledger_core.llm.gathering import failure, join_choices
from ledger_core.llm.loading import Object, count, name, number, obj, objects, text
from ledger_core.llm.model import Answered, Asked, Choice, ToolCall, Usage
from ledger_core.llm.weighing import Scales, join, text_of

ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
"""The events that end a stream."""

_OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})
_RESULTS: Final = frozenset({"id", "type", "status", "output", "outputs", "result", "results"})
"""What of a built-in call is not its arguments."""


def read_request(body: Object) -> Asked:
    """Read a request's JSON."""
    scales = Scales()
    instructions = text(body.get("instructions"))
    system = [] if instructions is None else [instructions]
    scales.text(instructions or "")
    messages = body.get("input")
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    results: list[Object] = []
    for item in objects(messages):
        _read_item(item, scales, system, results)
    tools = body.get("tools")
    scales.json(tools)
    scales.json(body.get("text"))
    return Asked(
        model=name(body.get("model")),
        stream=body.get("stream") is True,
        messages=messages if isinstance(messages, list) else None,
        system_prompt=join(system, "\n"),
        tools=tools if isinstance(tools, list) else None,
        tool_results=results or None,
        temperature=number(body.get("temperature")),
        max_tokens=count(body.get("max_output_tokens")),
        user_id=name(body.get("safety_identifier")) or name(body.get("user")),
        is_background=body.get("background") is True,
        input_chars=scales.chars,
        wide_chars=scales.wide,
        media=tuple(scales.media),
    )


def _read_item(item: Object, scales: Scales, system: list[str], results: list[Object]) -> None:
    if item.get("type", "message") == "message":
        scales.content(item.get("content"))
        if item.get("role") in ("system", "developer"):
            system.append(text_of(item.get("content")) or "")
        return
    if isinstance(item.get("type"), str) and item["type"] in _OUTPUTS:
        results.append({"tool_call_id": item.get("call_id"), "content": item.get("output")})
        scales.content(item.get("output"))
        return
    # What is encrypted is counted elsewhere, if at all: its bytes say nothing about tokens.
    scales.json({key: value for key, value in item.items() if key != "encrypted_content"})


def read_usage(usage: Any) -> Usage | None:
    """Read the ``usage`` of an answer; None where there is none."""
    if not isinstance(usage, dict):
        return None
    given, made = obj(usage.get("input_tokens_details")), obj(usage.get("output_tokens_details"))
    return Usage(
        tokens_in=count(usage.get("input_tokens")),
        tokens_out=count(usage.get("output_tokens")),
        tokens_cached=count(given.get("cached_tokens")),
        tokens_cache_write=count(given.get("cache_write_tokens")),
        tokens_reasoning=count(made.get("reasoning_tokens")),
        tokens_audio_in=count(given.get("audio_tokens")),
        tokens_audio_out=count(made.get("audio_tokens")),
        cost_microusd=money.billed(usage),
    )


def read_answer(body: Object) -> Answered:
    """Read an answer's JSON."""
    items = objects(body.get("output"))
    parts = [
        part
        for item in items
        if item.get("type") == "message"
        for part in objects(item.get("content"))
    ]
    error_type, error_detail = failure(body)
    answered = Answered(
        response_id=name(body.get("id")),
        model=name(body.get("model")),
        usage=read_usage(body.get("usage")),
        citations=tuple(note for part in parts for note in objects(part.get("annotations"))),
        service_tier=name(body.get("service_tier")),
        error_type=error_type,
        error_detail=error_detail,
    )
    if "output" not in body:
        return answered
    choice = Choice(
        content=_texts(parts, "output_text", "text"),
        stop_reason=name(obj(body.get("incomplete_details")).get("reason"))
        or name(body.get("status")),
        tool_calls=tuple(call for item in items[: limits.LLM_TOOL_CALLS] for call in _calls(item)),
        reasoning=_reasoning(items),
        refusal=_texts(parts, "refusal", "refusal"),
    )
    return join_choices(answered, (choice,))


def _texts(parts: list[Object], kind: str, field: str) -> str | None:
    told = [text(each.get(field)) for each in parts if each.get("type") == kind]
    return join([each for each in told if each is not None])


def _reasoning(items: list[Object]) -> str | None:
    thoughts = [item for item in items if item.get("type") == "reasoning"]
    pieces = [
        piece
        for thought in thoughts
        for field in ("summary", "content")
        for each in objects(thought.get(field))
        if (piece := text(each.get("text")))
    ]
    return join(pieces, "\n\n")


def _calls(item: Object) -> list[ToolCall]:
    """The call that an item is; none if it is something else."""
    kind = item.get("type")
    if not isinstance(kind, str) or not kind.endswith("_call"):
        return []
    call_id = name(item.get("call_id")) or name(item.get("id"))
    called = name(item.get("name"))
    if kind == "function_call":
        return [ToolCall(id=call_id, name=called, arguments=item.get("arguments"))]
    if kind == "custom_tool_call":
        return [ToolCall(id=call_id, name=called, arguments=item.get("input"), kind="custom")]
    given = {key: value for key, value in item.items() if key not in _RESULTS}
    plain = given.get("action", given.get("arguments", given))
    return [
        ToolCall(
            id=call_id,
            name=called or name(kind.removesuffix("_call")),
            arguments=plain,
            kind="builtin",
        )
    ]


class Stream:
    """Puts the events of a stream together again.

    The event that ends it carries the whole response. Where it never came, the items that were
    finished stand for it, and the text of those that were not.
    """

    def __init__(self) -> None:
        self._response: Object = {}
        self._ended = False
        self._error: Object = {}
        self._items: dict[int, Object] = {}
        self._texts: dict[tuple[int, str], list[str]] = {}

    def take(self, event: Object) -> None:
        """Take one event's data."""
        kind = event.get("type")
        if isinstance(event.get("response"), dict):
            self._response = event["response"]
            self._ended = isinstance(kind, str) and kind in ENDS
        elif kind == "error":
            self._error = event
        elif kind in ("response.output_item.added", "response.output_item.done"):
            place = count(event.get("output_index"))
            if place is not None and len(self._items) < limits.LLM_TOOL_CALLS:
                self._items[place] = obj(event.get("item"))
        elif isinstance(kind, str) and kind.endswith(".delta"):
            self._delta(kind, event)

    def _delta(self, kind: str, event: Object) -> None:
        place, piece = count(event.get("output_index")), text(event.get("delta"))
        key = (place or 0, kind)
        if piece and (key in self._texts or len(self._texts) < limits.LLM_TOOL_CALLS):
            self._texts.setdefault(key, []).append(piece)

    def answered(self) -> Answered:
        """What came so far."""
        response = self._response
        if not (self._ended and response.get("output")) and self._items:
            items = [self._item(place) for place in sorted(self._items)]
            response = {**response, "output": items}
        if self._error and not response.get("error"):
            # An error event is the error itself, or holds it.
            told = obj(self._error.get("error")) or {**self._error, "type": self._error.get("code")}
            response = {**response, "error": told}
        return read_answer(response)

    def _item(self, place: int) -> Object:
        """An item as finished, or with the pieces of it that came."""
        item = self._items[place]
        if item.get("status") == "completed" or item.get("content") or item.get("summary"):
            return item

        def so_far(kind: str) -> str:
            return "".join(self._texts.get((place, kind), ()))

        if item.get("type") == "message":
            parts = [
                {"type": "output_text", "text": so_far("response.output_text.delta")},
                {"type": "refusal", "refusal": so_far("response.refusal.delta")},
            ]
            return {**item, "content": [part for part in parts if list(part.values())[1]]}
        if item.get("type") == "reasoning":
            thought = so_far("response.reasoning_summary_text.delta")
            return {**item, "summary": [{"text": thought}]}
        if item.get("type") == "function_call":
            return {**item, "arguments": so_far("response.function_call_arguments.delta")}
        if item.get("type") == "custom_tool_call":
            return {**item, "input": so_far("response.custom_tool_call_input.delta")}
        return item
