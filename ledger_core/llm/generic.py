"""Everything else: what a request or an answer says about itself in the words that most use.

Legacy completions, moderations, compaction, rerank, files: the model, the usage in either of
OpenAI's spellings, an error. What cannot be read stays in the bytes.
"""

from __future__ import annotations

from ledger_core import limits
from ledger_core.llm import openai_chat, openai_responses
from ledger_core.llm.gathering import Gathered, failure, join_choices
from ledger_core.llm.loading import Object, count, name, number, obj, objects, text
from ledger_core.llm.model import Answered, Asked, Choice, Usage
from ledger_core.llm.weighing import Scales, text_of


def read_request(body: Object) -> Asked:
    """Read a request's JSON."""
    scales = Scales()
    scales.json(body)
    messages = body.get("messages")
    return Asked(
        model=name(body.get("model")),
        stream=body.get("stream") is True,
        messages=messages if isinstance(messages, list) else None,
        temperature=number(body.get("temperature")),
        max_tokens=count(body.get("max_tokens")),
        n=count(body.get("n")) or 1,
        user_id=name(body.get("user")),
        wants_usage=obj(body.get("stream_options")).get("include_usage") is True,
        input_chars=scales.chars,
    )


def read_answer(body: Object) -> Answered:
    """Read an answer's JSON."""
    error_type, error_detail = failure(body)
    choices = tuple(
        Choice(index=place, content=told, stop_reason=name(each.get("finish_reason")))
        for place, each in enumerate(objects(body.get("choices")))
        if (told := _said(each, "message")) is not None
    )
    answered = Answered(
        response_id=name(body.get("id")),
        model=name(body.get("model")),
        usage=_usage(body),
        counted_tokens=count(body.get("input_tokens")),
        error_type=error_type,
        error_detail=error_detail,
    )
    return join_choices(answered, choices) if choices else answered


def _said(choice: Object, where: str) -> str | None:
    """The text of a choice: of a legacy completion, or of a chat at a path nobody knows."""
    told = text(choice.get("text"))
    return text_of(obj(choice.get(where)).get("content")) if told is None else told


def _usage(body: Object) -> Usage | None:
    usage = obj(body.get("usage"))
    if "prompt_tokens" in usage:
        return openai_chat.read_usage(usage)
    return openai_responses.read_usage(usage) if "input_tokens" in usage else None


class Stream:
    """Puts a stream together as far as its events look like those of legacy completions."""

    def __init__(self) -> None:
        self._facts: Object = {}
        self._choices: dict[int, Gathered] = {}

    def take(self, event: Object) -> None:
        """Take one event's data."""
        for field in ("id", "model", "usage", "error"):
            if event.get(field):
                self._facts[field] = event[field]
        for place, choice in enumerate(objects(event.get("choices"))):
            index = count(choice.get("index"))
            index = place if index is None else index
            if index in self._choices or len(self._choices) < limits.LLM_CHOICES:
                gathered = self._choices.setdefault(index, Gathered(index))
                gathered.say(_said(choice, "delta"))
                gathered.stop(choice.get("finish_reason"))

    def answered(self) -> Answered:
        """What came so far."""
        choices = tuple(self._choices[index].choice() for index in sorted(self._choices))
        answered = read_answer(self._facts)
        return join_choices(answered, choices) if choices else answered
