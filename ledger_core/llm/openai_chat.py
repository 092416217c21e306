"""OpenAI chat completions, and what servers that speak it add: OpenRouter, DeepSeek, Azure, vLLM.

Tokens: ``prompt_tokens`` is the whole input, cached included; ``completion_tokens`` includes
reasoning, except where ``total_tokens`` shows that the server counts reasoning apart (xAI).

Sources: https://platform.openai.com/docs/api-reference/chat,
https://openrouter.ai/docs/api-reference, https://api-docs.deepseek.com
"""

from __future__ import annotations

from typing import Any, Final

from ledger_core import limits
from ledger_core.llm import money
from ledger_core.llm.gathering import Gathered, failure, join_choices
from ledger_core.llm.loading import Object, count, name, number, obj, objects, text
from ledger_core.llm.model import Answered, Asked, Choice, ToolCall, ToolKind, Usage
from ledger_core.llm.weighing import Scales, join, text_of

END: Final = b"[DONE]"
"""The data of the event that ends a stream."""


def read_request(body: Object) -> Asked:
    """Read a request's JSON."""
    scales = Scales()
    system: list[str] = []
    results: list[Object] = []
    for message in objects(body.get("messages")):
        role, content = message.get("role"), message.get("content")
        scales.content(content)
        scales.json(message.get("tool_calls"))
        if role in ("system", "developer"):
            system.append(text_of(content) or "")
        elif role == "tool":
            results.append({"tool_call_id": message.get("tool_call_id"), "content": content})
        elif role == "function":
            results.append({"name": message.get("name"), "content": content})
    tools = body.get("tools") or body.get("functions")
    scales.json(tools)
    scales.json(body.get("response_format"))
    most = count(body.get("max_completion_tokens"))
    return Asked(
        model=name(body.get("model")),
        stream=body.get("stream") is True,
        messages=body["messages"] if isinstance(body.get("messages"), list) else None,
        system_prompt=join(system, "\n"),
        tools=tools if isinstance(tools, list) else None,
        tool_results=results or None,
        temperature=number(body.get("temperature")),
        max_tokens=count(body.get("max_tokens")) if most is None else most,
        n=count(body.get("n")) or 1,
        user_id=name(body.get("safety_identifier")) or name(body.get("user")),
        wants_usage=obj(body.get("stream_options")).get("include_usage") is True,
        input_chars=scales.chars,
        wide_chars=scales.wide,
        media=tuple(scales.media),
    )


def read_usage(usage: Any) -> Usage | None:
    """Read the ``usage`` of an answer; None where there is none."""
    if not isinstance(usage, dict):
        return None
    given, made = (
        obj(usage.get("prompt_tokens_details")),
        obj(usage.get("completion_tokens_details")),
    )
    tokens_in, tokens_out = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    reasoning = count(made.get("reasoning_tokens"))
    if tokens_out is not None and reasoning:
        apart = (tokens_in or 0) + tokens_out + reasoning
        tokens_out += reasoning if count(usage.get("total_tokens")) == apart else 0
    cached = count(given.get("cached_tokens"))
    return Usage(
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        tokens_cached=count(usage.get("prompt_cache_hit_tokens")) if cached is None else cached,
        tokens_cache_write=count(given.get("cache_write_tokens")),
        tokens_reasoning=reasoning,
        tokens_audio_in=count(given.get("audio_tokens")),
        tokens_audio_out=count(made.get("audio_tokens")),
        web_searches=count(obj(usage.get("server_tool_use_details")).get("web_search_requests")),
        cost_microusd=money.billed(usage),
    )


def read_answer(body: Object) -> Answered:
    """Read an answer's JSON."""
    told = objects(body.get("choices"))
    choices = tuple(_choice(each, place) for place, each in enumerate(told[: limits.LLM_CHOICES]))
    messages = [obj(each.get("message")) for each in told]
    error_type, error_detail = failure(body)
    return join_choices(
        Answered(
            response_id=name(body.get("id")),
            model=name(body.get("model")),
            usage=read_usage(body.get("usage")),
            citations=tuple(
                note for message in messages for note in objects(message.get("annotations"))
            ),
            service_tier=name(body.get("service_tier")),
            error_type=error_type,
            error_detail=error_detail,
            system_fingerprint=name(body.get("system_fingerprint")),
        ),
        choices,
    )


def _choice(choice: Object, place: int) -> Choice:
    message = obj(choice.get("message"))
    index = count(choice.get("index"))
    return Choice(
        index=place if index is None else index,
        content=_content(message),
        stop_reason=name(choice.get("finish_reason")),
        tool_calls=_tool_calls(message),
        reasoning=_reasoning(message),
        refusal=text(message.get("refusal")),
    )


def _content(message: Object) -> str | None:
    """The text; of a spoken answer its transcript."""
    content = text_of(message.get("content"))
    return text(obj(message.get("audio")).get("transcript")) if content is None else content


def _reasoning(message: Object) -> str | None:
    for field in ("reasoning_content", "reasoning"):
        if isinstance(message.get(field), str):
            return str(message[field])
    if "reasoning_details" not in message:
        return None
    details = objects(message["reasoning_details"])
    pieces = [text(each.get("text")) or text(each.get("summary")) for each in details]
    return join([piece for piece in pieces if piece])


def _tool_calls(message: Object) -> tuple[ToolCall, ...]:
    calls = [
        _tool_call(each) for each in objects(message.get("tool_calls"))[: limits.LLM_TOOL_CALLS]
    ]
    if legacy := obj(message.get("function_call")):
        calls.append(ToolCall(name=name(legacy.get("name")), arguments=legacy.get("arguments")))
    return tuple(calls)


def _tool_call(call: Object) -> ToolCall:
    if custom := obj(call.get("custom")):
        return ToolCall(
            id=name(call.get("id")),
            name=name(custom.get("name")),
            arguments=custom.get("input"),
            kind="custom",
        )
    function = obj(call.get("function"))
    return ToolCall(
        id=name(call.get("id")),
        name=name(function.get("name")),
        arguments=function.get("arguments"),
    )


class Stream:
    """Puts the chunks of a stream together again."""

    def __init__(self) -> None:
        self._facts: Object = {}
        self._usage: Any = None
        self._choices: dict[int, Gathered] = {}
        self._citations: list[Any] = []

    def take(self, chunk: Object) -> None:
        """Take one chunk."""
        for field in ("id", "model", "service_tier", "system_fingerprint", "error"):
            if chunk.get(field):
                self._facts[field] = chunk[field]
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]
        for place, choice in enumerate(objects(chunk.get("choices"))):
            index = count(choice.get("index"))
            index = place if index is None else index
            if index not in self._choices and len(self._choices) >= limits.LLM_CHOICES:
                continue
            self._delta(self._choices.setdefault(index, Gathered(index)), choice)

    def _delta(self, gathered: Gathered, choice: Object) -> None:
        delta = obj(choice.get("delta"))
        gathered.stop(choice.get("finish_reason"))
        gathered.say(_content(delta))
        gathered.think(_reasoning(delta))
        gathered.refuse(text(delta.get("refusal")))
        self._citations += objects(delta.get("annotations"))
        for call in objects(delta.get("tool_calls")):
            kind: ToolKind = "custom" if call.get("custom") else "function"
            piece = obj(call.get(kind))
            given = piece.get("input" if kind == "custom" else "arguments")
            gathered.call(call.get("index"), call.get("id"), piece.get("name"), given, kind)
        if legacy := obj(delta.get("function_call")):
            gathered.call("legacy", None, legacy.get("name"), legacy.get("arguments"), "function")

    def answered(self) -> Answered:
        """What came so far."""
        facts = self._facts
        error_type, error_detail = failure(facts)
        return join_choices(
            Answered(
                response_id=name(facts.get("id")),
                model=name(facts.get("model")),
                usage=read_usage(self._usage),
                citations=tuple(self._citations),
                service_tier=name(facts.get("service_tier")),
                error_type=error_type,
                error_detail=error_detail,
                system_fingerprint=name(facts.get("system_fingerprint")),
            ),
            tuple(self._choices[index].choice() for index in sorted(self._choices)),
        )
