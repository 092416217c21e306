"""What an entry says of a call of a model: that it began, how it ended, or that it was refused.

A call has one row. It speaks by its end once there is one, and by its start until then: an end
repeats who asked for what, so nothing has to be put together from two entries that may have
different readers. What was recorded directly, without a start, and a refusal, have a row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Literal

import msgspec

from ledger_core import clock
from ledger_core.errors import MalformedError

Status = Literal["started", "done", "refused", "erased"]
"""``erased``: it ended, and what is known of how is gone. ``started``: the outcome is unknown."""

DAY_MS = 86_400_000
_FAILED = frozenset({"upstream_failed", "timed_out"})


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A call's numbers and names, as one entry tells them; times in ms."""

    status: Status
    began_at: int
    action_id: str
    provider: str | None = None
    wire: str | None = None
    model_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    agent_name: str | None = None
    app_id: str | None = None
    environment: str | None = None
    parent_action_id: str | None = None
    handoff_from: str | None = None
    handoff_to: str | None = None
    status_code: int | None = None
    is_error: int = 0
    ended: str | None = None
    reason: str | None = None
    latency_ms: int | None = None
    first_token_ms: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    tokens_cache_write: int | None = None
    tokens_reasoning: int | None = None
    tokens_audio: int | None = None
    cost_microusd: int | None = None
    cost_basis: str | None = None
    stop_reason: str | None = None


class CallPart(msgspec.Struct, frozen=True):
    """What one entry adds to a call's row. ``answers``: the leaf hash of the start it ends.

    ``facts`` is None when the payload is gone: that there is an end is known all the same.
    """

    facts: CallFacts | None
    tools: tuple[str, ...] = ()
    is_start: bool = False
    answers: bytes | None = None
    start: int | None = None
    """Where that start lies, once it was looked up."""


_NAMES = (
    "action_id", "provider", "model_id", "session_id", "user_id", "agent_name", "app_id",
    "environment", "parent_action_id", "handoff_from", "handoff_to",
)  # fmt: skip
_NUMBERS = (
    "status_code", "latency_ms", "first_token_ms", "tokens_in", "tokens_out", "tokens_cached",
    "tokens_cache_write", "tokens_reasoning", "tokens_audio", "cost_microusd", "cost_basis",
    "stop_reason",
)  # fmt: skip
_read_names, _read_numbers = attrgetter(*_NAMES), attrgetter(*_NUMBERS)


def _names(said: Any, received_at: int) -> dict[str, Any]:
    found = dict(zip(_NAMES, _read_names(said), strict=True))
    found["began_at"] = _time(said.timestamp, received_at)
    return found


def _time(text: str, received_at: int) -> int:
    """Return when a call began. ``llm.call/1`` takes any text; then it is when it was received."""
    try:
        return clock.parse_time(text)
    except MalformedError:
        return received_at


def _started(said: Any, received_at: int) -> CallPart:
    return CallPart(
        CallFacts(status="started", wire=said.wire, **_names(said, received_at)), is_start=True
    )


def _refused(said: Any, received_at: int) -> CallPart:
    names = _names(said, received_at)
    return CallPart(
        CallFacts(
            status="refused",
            wire=said.wire,
            reason=said.reason,
            status_code=said.status_code,
            **names,
        )
    )


def _done(said: Any, received_at: int, wire: str | None, ended: str | None) -> CallFacts:
    numbers = dict(zip(_NUMBERS, _read_numbers(said), strict=True))
    code = said.status_code
    is_error = (code is not None and code >= 400) or ended in _FAILED
    return CallFacts(
        status="done",
        wire=wire,
        ended=ended,
        is_error=int(is_error),
        **_names(said, received_at),
        **numbers,
    )


def _done_1(said: Any, received_at: int) -> CallPart:
    return CallPart(_done(said, received_at, None, None), _tools(said.tool_calls))


def _done_2(said: Any, received_at: int) -> CallPart:
    return CallPart(_done(said, received_at, said.wire, said.ended), tuple(said.tool_names))


def _tools(calls: Any) -> tuple[str, ...]:
    """Return the names of called tools, of whatever shape an author gave them."""
    if not isinstance(calls, list):
        return ()
    names = [_tool(each) for each in calls if isinstance(each, dict)]
    return tuple(name for name in names if isinstance(name, str) and name and "\0" not in name)


def _tool(call: Mapping[str, Any]) -> Any:
    function = call.get("function")
    return function.get("name") if isinstance(function, dict) else call.get("name")


_OF: dict[str, tuple[str, Callable[[Any, int], CallPart]]] = {
    "llm.start/1": ("start", _started),
    "llm.call/1": ("call", _done_1),
    "llm.call/2": ("call", _done_2),
    "llm.refused/1": ("refusal", _refused),
}
TYPES = frozenset(_OF)
"""The record types that say something of a call."""
PART = {name: part for name, (part, _) in _OF.items()}
"""In which part of the payload they say it."""


def call_part(
    type_name: str, payload: Mapping[str, Any], received_at: int, answers: bytes | None
) -> CallPart | None:
    """Return what an entry adds to a call, from its decoded payload; None if it is about none."""
    found = _OF.get(type_name)
    if found is None:
        return None
    name, make = found
    if name not in payload:
        return CallPart(None, is_start=type_name == "llm.start/1", answers=answers)
    made = make(payload[name], received_at)
    return msgspec.structs.replace(made, answers=answers) if answers else made
