"""What LangChain tells of models and tools is on record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool

from ledgergrid.integrations.langchain import CallRecorder
from tests.sdk.integrations.recorded import Book

QUOTE = AIMessage(
    content="",
    id="chatcmpl-lc1",
    tool_calls=[ToolCall(name="get_quote", args={"pallets": 2}, id="call_1")],
    usage_metadata={
        "input_tokens": 118,
        "output_tokens": 27,
        "total_tokens": 145,
        "input_token_details": {"cache_read": 100},
        "output_token_details": {"reasoning": 9},
    },
    response_metadata={"model_name": "gpt-5-mini-2025-08-07", "finish_reason": "tool_calls"},
)


class Overloaded(Exception):
    status_code = 529


class Planner(BaseChatModel):
    """A provider's model, as its package would write it: parameters, an answer, or an error."""

    model_name: str = "gpt-5-mini"
    fails: bool = False

    @property
    def _llm_type(self) -> str:
        return "planner"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model_name, "temperature": 0.5, "max_tokens": 300}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_name": self.model_name, "ls_model_type": "chat"}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.fails:
            raise Overloaded("come back later")
        return ChatResult(generations=[ChatGeneration(message=QUOTE)])


@pytest.fixture
def recorder(book: Book) -> CallRecorder:
    return CallRecorder(book.ledger, session_id="run-1", agent_name="planner")


def config(recorder: CallRecorder, **metadata: str) -> Any:
    return {"callbacks": [recorder], "metadata": metadata}


def test_a_models_call_is_on_record_with_what_was_said(book: Book, recorder: CallRecorder) -> None:
    said = Planner().invoke(
        [SystemMessage("You plan trips."), HumanMessage("Two pallets to Lyon?")], config(recorder)
    )
    assert said.tool_calls[0]["name"] == "get_quote"
    call = book.call()
    facts = call.facts
    assert (facts["provider"], facts["wire"], facts["model_id"]) == (
        "openai",
        "openai.chat",
        "gpt-5-mini",
    )
    assert (facts["tokens_in"], facts["tokens_cached"], facts["tokens_reasoning"]) == (118, 100, 9)
    assert (facts["tool_names"], facts["stop_reason"]) == (["get_quote"], "tool_calls")
    assert (facts["session_id"], facts["agent_name"]) == ("run-1", "planner")
    assert (facts["response_model"], facts["temperature"]) == ("gpt-5-mini-2025-08-07", 0.5)
    asked = json.loads(call.parts["request"])
    assert [each["role"] for each in asked["messages"]] == ["system", "user"]
    [choice] = json.loads(call.parts["response"])["choices"]
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"pallets": 2}


def test_streams_and_asyncio_are_recorded_when_they_end(book: Book, recorder: CallRecorder) -> None:
    def model() -> GenericFakeChatModel:
        answers: Iterator[AIMessage] = iter([AIMessage(content="the truck takes both")])
        return GenericFakeChatModel(messages=answers)

    async def work() -> None:
        assert [c async for c in model().astream("Truck or train?", config(recorder))]

    assert list(model().stream("Truck or train?", config(recorder)))
    asyncio.run(work())
    for call in book.calls(2):
        answer = json.loads(call.parts["response"])
        assert answer["choices"][0]["message"]["content"] == "the truck takes both"


def test_an_error_passes_and_is_on_record(book: Book, recorder: CallRecorder) -> None:
    with pytest.raises(Overloaded):
        Planner(fails=True).invoke("hello", config(recorder))
    call = book.call()
    facts = call.facts
    assert (facts["status_code"], facts["ended"]) == (529, "upstream_failed")
    assert (facts["error_type"], facts["error_detail"]) == ("Overloaded", "come back later")
    assert set(call.parts) == {"call", "request"}


def test_tools_are_actions(book: Book, recorder: CallRecorder) -> None:
    @tool
    def get_quote(pallets: int) -> str:
        """Ask for a price."""
        if pallets > 9:
            raise ValueError("too many")
        return f"{310 * pallets} EUR"

    assert get_quote.invoke({"pallets": 2}, config(recorder)) == "620 EUR"
    with pytest.raises(ValueError, match="too many"):
        get_quote.invoke({"pallets": 10}, config(recorder))
    done, failed = book.calls(2)
    assert done.type == "agent.action/1"
    told = {
        name: done.facts[name] for name in ("action", "status", "input", "output", "session_id")
    }
    assert told == {
        "action": "get_quote",
        "status": "succeeded",
        "input": {"pallets": 2},
        "output": "620 EUR",
        "session_id": "run-1",
    }
    assert (failed.facts["status"], failed.facts["error"]) == ("failed", "ValueError: too many")


def test_a_runs_own_metadata_labels_its_calls(book: Book, recorder: CallRecorder) -> None:
    Planner().invoke("hello", config(recorder, session_id="run-2", user_id="u-7"))
    facts = book.call().facts
    assert (facts["session_id"], facts["user_id"], facts["agent_name"]) == (
        "run-2",
        "u-7",
        "planner",
    )


def test_metadata_alone_holds_nothing_that_was_said(book: Book) -> None:
    recorder = CallRecorder(book.ledger, level="metadata")

    @tool
    def secret(word: str) -> str:
        """Keep it."""
        raise ValueError(word)

    Planner().invoke("the secret is plum", config(recorder, thread_id="t-1"))
    with pytest.raises(ValueError, match="plum"):
        secret.invoke({"word": "plum"}, config(recorder))
    calls = book.calls(2)
    assert calls[0].facts["session_id"] == "t-1"
    assert b"plum" not in b"".join(part for call in calls for part in call.parts.values())
