"""Record what a LangChain or LangGraph agent does: ``callbacks=[CallRecorder(ledger)]``.

>>> recorder = CallRecorder(ledger, session_id="run-17")  # doctest: +SKIP
>>> agent.invoke(question, config={"callbacks": [recorder]})  # doctest: +SKIP

Each call of a model becomes an ``llm.call/2``, each call of a tool an ``agent.action/1``. LangChain
does not hand over what went over the wire: request and response are what LangChain saw of them, in
the form of chat completions, whoever the provider is. Who wants the provider's bytes listens to its
SDK's client (``ledgergrid.integrations.openai``, ``.anthropic``) or goes through the proxy.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Unpack
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, Generation, LLMResult

from ledger_core import clock
from ledger_core.errors import LedgerGridError
from ledgergrid.client import Ledger
from ledgergrid.integrations.exchange import Exchange, Request
from ledgergrid.integrations.labels import Labels, clip
from ledgergrid.integrations.recording import Level, Recorder

log = logging.getLogger("ledgergrid")

_UNDER_WAY: Final = 10_000
"""Runs that began and did not end; beyond these the oldest is recorded as it stands."""
_PATH: Final = "/v1/chat/completions"
_JSON: Final = {"content-type": "application/json"}
_ASKED: Final = (
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "stop",
    "seed", "tools", "tool_choice", "functions", "response_format", "reasoning_effort", "thinking",
)  # fmt: skip
_LABELS: Final = ("session_id", "user_id", "agent_name", "app_id", "environment")


@dataclass(frozen=True)
class _Tool:
    """A tool's call under way."""

    name: str
    given: Any
    began_at: str
    labels: Labels


class CallRecorder(BaseCallbackHandler):
    """Records the calls of models and tools of whatever it is given to as a callback.

    ``session_id``, ``user_id``, ``agent_name``, ``app_id`` and ``environment`` in a run's metadata
    count over the recorder's own labels; LangGraph's ``thread_id`` names a session, and its node an
    agent, where nothing else does.
    """

    def __init__(self, ledger: Ledger, *, level: Level = "full", **labels: Unpack[Labels]) -> None:
        self._recorder = Recorder(ledger, labels, level)
        self._given = labels
        self._ledger = ledger
        self._level = level
        self._calls: OrderedDict[UUID, Exchange] = OrderedDict()
        self._tools: OrderedDict[UUID, _Tool] = OrderedDict()

    # --- models --------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        said = [convert_to_openai_messages(each) for each in messages]
        self._begin(run_id, said[0] if said else [], metadata or {}, kwargs)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        said = [{"role": "user", "content": prompt} for prompt in prompts[:1]]
        self._begin(run_id, said, metadata or {}, kwargs)

    def _begin(
        self, run_id: UUID, said: object, metadata: dict[str, Any], more: dict[str, Any]
    ) -> None:
        asked: dict[str, Any] = dict(more.get("invocation_params") or {})
        model = metadata.get("ls_model_name") or asked.get("model") or asked.get("model_name")
        body: dict[str, Any] = {"model": model, "messages": said}
        body |= {name: asked[name] for name in _ASKED if asked.get(name) is not None}
        provider = metadata.get("ls_provider")
        request = Request(
            "POST", _PATH, _JSON, _encode(body), provider=clip(str(provider or "unknown"))
        )
        if len(self._calls) >= _UNDER_WAY:
            self._calls.popitem(last=False)[1].end("client_left")
        self._calls[run_id] = Exchange(request, self._labels(metadata), self._recorder.keep)

    def on_llm_new_token(self, token: object, *, run_id: UUID, **kwargs: Any) -> None:
        if exchange := self._calls.get(run_id):
            exchange.add(b"")

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        if exchange := self._calls.pop(run_id, None):
            exchange.answer(200, _JSON)
            exchange.add(_encode(_answer(response)))
            exchange.end("complete")

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        if exchange := self._calls.pop(run_id, None):
            status = getattr(error, "status_code", None)
            if isinstance(status, int):
                exchange.answer(status, {})
            left = not isinstance(error, Exception)
            exchange.end("client_left" if left else "upstream_failed", error)

    # --- tools ---------------------------------------------------------------------

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = kwargs.get("name") or (serialized or {}).get("name") or "tool"
        given = input_str if inputs is None else inputs
        began_at = clock.format_time(clock.now_ms())
        if len(self._tools) >= _UNDER_WAY:
            self._tools.popitem(last=False)
        self._tools[run_id] = _Tool(clip(str(name))[:200], given, began_at, self._labels(metadata))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end_tool(run_id, "succeeded", output=_plain(getattr(output, "content", output)))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        said = "" if self._level == "metadata" else f": {error}"
        self._end_tool(run_id, "failed", error=f"{type(error).__name__}{said}"[:100_000])

    def _end_tool(self, run_id: UUID, status: str, **outcome: Any) -> None:
        tool = self._tools.pop(run_id, None)
        if tool is None:
            return
        action: dict[str, Any] = {
            "action": tool.name,
            "status": status,
            "tool": tool.name,
            "input": _plain(tool.given),
            "started_at": tool.began_at,
            "ended_at": clock.format_time(clock.now_ms()),
            "session_id": tool.labels.get("session_id"),
            "agent_name": tool.labels.get("agent_name"),
            **outcome,
        }
        if self._level == "metadata":
            action = {k: v for k, v in action.items() if k not in ("input", "output")}
        try:
            self._ledger.keep("agent.action/1", action)
        except (LedgerGridError, OSError) as problem:
            self._recorder.lose(problem)

    def _labels(self, metadata: Mapping[str, Any] | None) -> Any:
        told = metadata or {}
        found: dict[str, Any] = {}
        if told.get("thread_id"):
            found["session_id"] = clip(str(told["thread_id"]))
        if told.get("langgraph_node"):
            found["agent_name"] = clip(str(told["langgraph_node"]))
        named = {name: clip(str(told[name])) for name in _LABELS if told.get(name)}
        return {**self._recorder.labels, **found, **self._given, **named}


def _encode(value: object) -> bytes:
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "replace"
    )


def _plain(value: Any) -> Any:
    """Return what JSON can say of a value; of what it cannot, its text."""
    try:
        return json.loads(json.dumps(value, default=str, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _answer(response: LLMResult) -> dict[str, Any]:
    """Return a result as chat completions tell it."""
    generations = response.generations[0] if response.generations else []
    about = _about(generations)
    choices = [_choice(index, each) for index, each in enumerate(generations)]
    answer = {
        "id": about.get("id"),
        "object": "chat.completion",
        "model": about.get("model_name") or about.get("model"),
        "service_tier": about.get("service_tier"),
        "choices": choices,
        "usage": _usage(generations, response.llm_output or {}),
    }
    return {name: value for name, value in answer.items() if value is not None}


def _about(generations: Sequence[Generation]) -> dict[str, Any]:
    for each in generations:
        if isinstance(each, ChatGeneration):
            message = each.message
            return {"id": message.id, **message.response_metadata}
    return {}


def _choice(index: int, generation: Generation) -> dict[str, Any]:
    info = generation.generation_info or {}
    if not isinstance(generation, ChatGeneration):
        message: Any = {"role": "assistant", "content": generation.text}
    else:
        info = {**info, **generation.message.response_metadata}
        message = convert_to_openai_messages(generation.message)
    reason = info.get("finish_reason") or info.get("stop_reason") or info.get("done_reason")
    return {"index": index, "message": message, "finish_reason": reason}


def _usage(generations: Sequence[Generation], output: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what was used, in the words of chat completions."""
    for each in generations:
        used = getattr(getattr(each, "message", None), "usage_metadata", None)
        if used:
            given, made = (
                used.get("input_token_details") or {},
                used.get("output_token_details") or {},
            )
            return {
                "prompt_tokens": used.get("input_tokens"),
                "completion_tokens": used.get("output_tokens"),
                "total_tokens": used.get("total_tokens"),
                "prompt_tokens_details": {
                    "cached_tokens": given.get("cache_read"),
                    "cache_write_tokens": given.get("cache_creation"),
                    "audio_tokens": given.get("audio"),
                },
                "completion_tokens_details": {
                    "reasoning_tokens": made.get("reasoning"),
                    "audio_tokens": made.get("audio"),
                },
            }
    told = output.get("token_usage") or output.get("usage")
    return dict(told) if isinstance(told, Mapping) else None
