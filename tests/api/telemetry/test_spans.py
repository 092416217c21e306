"""Spans of calls: named, timed and identified as the conventions and the log say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, openai_attributes
from opentelemetry.trace import SpanKind, StatusCode

from api.feed import Ended
from api.telemetry.content import ATTRIBUTE_CHARS, TEXT_CHARS, read_content
from api.telemetry.identity import span_id_of, trace_id_of
from api.telemetry.spans import SpanMaker
from ledger_core.llm.model import Answered, Asked, Choice
from ledger_core.llm.redactor import Redactor
from tests.support.ended import BEGAN_MS, make_call, make_ended, make_refusal, with_content


def make_span(ended: Ended, *, legacy: bool = False, content: bool = False) -> ReadableSpan:
    spans: list[ReadableSpan] = []
    maker = SpanMaker(
        spans.append, service_name="agents", version="1.0", ledger="calls", legacy=legacy
    )
    maker.make(ended, read_content(ended) if content else None)
    (span,) = spans
    return span


def attributes(ended: Ended, *, legacy: bool = False) -> dict[str, Any]:
    return dict(make_span(ended, legacy=legacy).attributes or {})


def test_a_call_is_a_client_span_named_by_operation_and_model_at_its_own_times() -> None:
    span = make_span(make_ended())
    assert span.name == "chat gpt-5"
    assert span.kind is SpanKind.CLIENT
    assert span.start_time == BEGAN_MS * 1_000_000
    assert span.end_time == (BEGAN_MS + 1500) * 1_000_000
    assert span.status.status_code is StatusCode.UNSET
    assert span.resource.attributes["service.name"] == "agents"
    assert span.parent is None


def test_a_span_says_what_the_conventions_ask_for() -> None:
    found = attributes(make_ended(stream=True, first_token_ms=250, temperature=0.5, max_tokens=99))
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.conversation.id": "s-1",
        "gen_ai.agent.name": "planner",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-5-2026-08-01",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.usage.reasoning.output_tokens": 8,
        "openai.api.type": "chat_completions",
        "http.response.status_code": 200,
        "server.address": "api.openai.com",
        "server.port": 443,
    }
    assert found.items() >= expected.items()


def test_a_span_leads_to_the_entry_and_says_what_the_call_cost() -> None:
    found = attributes(make_ended(index=41, tags={"team": "red"}))
    expected = {
        "ledgergrid.action_id": "act-1",
        "ledgergrid.ledger": "calls",
        "ledgergrid.entry": 41,
        "ledgergrid.cost_usd": 0.00125,
        "ledgergrid.cost_basis": "provider",
        "ledgergrid.price_source": "genai-prices@0.2.3",
        "ledgergrid.ended": "complete",
        "ledgergrid.tag.team": "red",
    }
    assert found.items() >= expected.items()


def test_what_is_not_known_is_not_said() -> None:
    found = attributes(make_ended(tokens_in=None, cost_microusd=None, cost_basis="unknown"))
    assert "gen_ai.usage.input_tokens" not in found
    assert "ledgergrid.cost_usd" not in found
    assert None not in found.values()


def test_every_name_of_the_conventions_is_one_that_they_have() -> None:
    """Checked against the names that OpenTelemetry's own package lists."""
    known = {
        value
        for module in (gen_ai_attributes, openai_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    ended = with_content(make_ended(stream=True, first_token_ms=1, service_tier="auto"))
    span = make_span(ended, content=True, legacy=True)
    used = {name for name in span.attributes or () if name.startswith(("gen_ai.", "openai."))}
    assert len(used) > 18
    assert used <= known


@pytest.mark.parametrize(
    ("wire", "path", "operation"),
    [
        ("openai.chat", "/v1/chat/completions", "chat"),
        ("openai.responses", "/v1/responses", "chat"),
        ("openai.embeddings", "/v1/embeddings", "embeddings"),
        ("anthropic.messages", "/v1/messages", "chat"),
        ("anthropic.count_tokens", "/v1/messages/count_tokens", "count_tokens"),
        ("other", "/v1/completions", "text_completion"),
        ("other", "/v1/audio/speech", "other"),
    ],
)
def test_each_wire_format_has_its_operation(wire: str, path: str, operation: str) -> None:
    assert make_span(make_ended(wire=wire, path=path)).name == f"{operation} gpt-5"


def test_a_call_without_a_model_is_named_by_its_operation_alone() -> None:
    assert make_span(make_ended(model_id=None)).name == "chat"


@pytest.mark.parametrize(
    ("provider", "name"),
    [("openai", "openai"), ("Mistral", "mistral_ai"), ("x-ai", "x_ai"), ("llamafile", "llamafile")],
)
def test_providers_are_spelled_as_the_conventions_spell_them(provider: str, name: str) -> None:
    assert attributes(make_ended(provider=provider))["gen_ai.provider.name"] == name


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status_code": 429, "error_type": "rate_limit_error"}, "rate_limit_error"),
        ({"status_code": 500}, "500"),
        ({"ended": "timed_out", "status_code": None}, "timeout"),
        ({"ended": "upstream_failed", "status_code": None}, "upstream_failed"),
    ],
)
def test_a_failed_call_is_an_error_with_its_type(fields: dict[str, Any], error: str) -> None:
    span = make_span(make_ended(error_detail="your prompt 'secret' is bad", **fields))
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {})["error.type"] == error
    # What a provider says of an error may quote what was asked.
    assert "secret" not in str(span.status.description) + str(span.attributes)


def test_a_client_that_leaves_is_no_error() -> None:
    span = make_span(make_ended(ended="client_left"))
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {})["ledgergrid.ended"] == "client_left"


def test_a_refused_call_is_a_span_with_an_error_too() -> None:
    span = make_span(Ended(make_refusal(), 3))
    found = dict(span.attributes or {})
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "The session's budget is used up."
    assert found["error.type"] == found["ledgergrid.refusal.reason"] == "budget_exceeded"
    assert found["ledgergrid.ended"] == "refused"
    assert found["http.response.status_code"] == 429
    assert span.start_time == span.end_time == BEGAN_MS * 1_000_000


def test_older_names_are_there_for_those_who_ask() -> None:
    assert attributes(make_ended()).keys().isdisjoint({"gen_ai.system", "http.status_code"})
    found = attributes(make_ended(), legacy=True)
    expected = {
        "gen_ai.system": "openai",
        "http.status_code": 200,
        "agentledger.action_id": "act-1",
        "agentledger.session_id": "s-1",
        "agentledger.cost_usd": 0.00125,
        "agentledger.latency_ms": 1500,
    }
    assert found.items() >= expected.items()


# --- ids ---------------------------------------------------------------------------


def test_calls_of_a_session_share_a_trace_and_stand_under_their_parents() -> None:
    parent = make_span(make_ended())
    child = make_span(make_ended(action_id="act-2", parent_action_id="act-1"))
    other = make_span(make_ended(action_id="act-3", session_id="s-2"))
    assert parent.context is not None and child.context is not None and other.context is not None
    assert parent.context.trace_id == child.context.trace_id != other.context.trace_id
    assert child.parent is not None
    assert child.parent.span_id == parent.context.span_id


def test_a_span_made_twice_is_one_span() -> None:
    once, again = make_span(make_ended()), make_span(make_ended())
    assert once.context is not None and again.context is not None
    assert (once.context.trace_id, once.context.span_id) == (
        again.context.trace_id,
        again.context.span_id,
    )


def test_ids_are_those_that_the_reference_page_tells_how_to_compute() -> None:
    call = make_call(session_id="demo", action_id="a1")
    assert f"{trace_id_of(call):032x}" == "16809bcbf460cc110cb5825fdb327cec"
    assert f"{span_id_of('a1'):016x}" == "8d0c93078c07d5d1"


def test_calls_without_a_session_are_in_their_parents_trace() -> None:
    parent = make_call(session_id=None, action_id="a1")
    child = make_call(session_id=None, action_id="a2", parent_action_id="a1")
    assert trace_id_of(parent) == trace_id_of(child) != trace_id_of(make_call(session_id="a1"))


def test_a_span_that_runs_here_is_no_parent_of_a_call() -> None:
    """Whoever traces this process itself does not find the agents' calls in there."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("the operator's")
    with tracer.start_as_current_span("request"):
        assert make_span(make_ended()).parent is None


def test_the_global_provider_is_left_alone() -> None:
    before = trace.get_tracer_provider()
    make_span(make_ended())
    assert trace.get_tracer_provider() is before
    assert not isinstance(before, TracerProvider)


# --- content -----------------------------------------------------------------------


def test_without_being_asked_a_span_holds_nothing_that_was_said() -> None:
    span = make_span(with_content(make_ended()))
    text = str(span.attributes)
    assert all(word not in text for word in ("Paris", "kind", "rains", "Lyon", "4111"))
    # What the exchange tells beside its words is there.
    found = dict(span.attributes or {})
    assert found["gen_ai.request.choice.count"] == 2
    assert found["gen_ai.response.finish_reasons"] == ("stop", "tool_calls")
    assert found["openai.response.system_fingerprint"] == "fp_1"


def test_content_has_the_form_of_the_conventions() -> None:
    found = read_content(with_content(make_ended()))
    assert parse(found, "gen_ai.system_instructions") == [
        {"type": "text", "content": "You are kind."}
    ]
    asked, called, told = parse(found, "gen_ai.input.messages")
    assert asked["role"] == "user"
    assert asked["parts"][0]["type"] == "text"
    assert called == {
        "role": "assistant",
        "parts": [
            {
                "type": "tool_call",
                "id": "call_1",
                "name": "get_weather",
                "arguments": '{"city":"Paris"}',
            }
        ],
    }
    assert told == {
        "role": "tool",
        "parts": [{"type": "tool_call_response", "id": "call_1", "response": "rainy"}],
    }
    first, second = parse(found, "gen_ai.output.messages")
    assert [part["type"] for part in first["parts"]] == ["reasoning", "text"]
    assert second["parts"][0]["name"] == "get_weather"
    assert parse(found, "gen_ai.tool.definitions") == [{"type": "function", "name": "get_weather"}]


def parse(found: Any, name: str) -> Any:
    return msgspec.json.decode(found[name])


def test_messages_of_anthropic_and_of_responses_are_read_too() -> None:
    messages = [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}],
        },
        {"type": "function_call", "call_id": "c1", "name": "find", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "found"},
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "item_reference", "id": "x"},
    ]
    ended = Ended(make_call(), 1, Asked(messages=messages), None)
    kinds = [
        [part["type"] for part in message["parts"]]
        for message in parse(read_content(ended), "gen_ai.input.messages")
    ]
    assert kinds == [
        ["reasoning", "tool_call"],
        ["tool_call_response"],
        ["tool_call"],
        ["tool_call_response"],
        ["text"],
        ["item_reference"],
    ]


def test_inline_images_are_named_and_not_copied() -> None:
    content = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "image", "source": {"type": "base64", "data": "B" * 9000}},
    ]
    ended = Ended(make_call(), 1, Asked(messages=[{"role": "user", "content": content}]), None)
    (message,) = parse(read_content(ended), "gen_ai.input.messages")
    assert message["parts"] == [
        {"type": "inline_data", "modality": "image"},
        {"type": "uri", "modality": "image", "uri": "https://example.org/a.png"},
        {"type": "inline_data", "modality": "image"},
    ]


def test_long_conversations_are_cut_and_the_newest_messages_stay() -> None:
    messages = [{"role": "user", "content": f"{n} " + "x" * 9000} for n in range(500)]
    choice = Choice(content="y" * 1_000_000)
    ended = Ended(make_call(), 1, Asked(messages=messages), Answered(choices=(choice,)))
    found = read_content(ended)
    kept = parse(found, "gen_ai.input.messages")
    assert kept[-1]["parts"][0]["content"].startswith("499 ")
    assert len(kept[-1]["parts"][0]["content"]) == TEXT_CHARS
    assert found["ledgergrid.dropped_messages"] == 500 - len(kept)
    for name in ("gen_ai.input.messages", "gen_ai.output.messages"):
        assert len(str(found[name])) <= ATTRIBUTE_CHARS


def test_a_redactor_sees_a_text_before_it_is_cut_and_numbers_too() -> None:
    redactor = Redactor(["card", "email"])
    long = "x" * (TEXT_CHARS - 8) + " 4111 1111 1111 1111"
    messages = [
        {"role": "user", "content": long},
        {"role": "tool", "content": {"card": 4111111111111111, "a@example.org": 7}},
    ]
    ended = Ended(make_call(), 1, Asked(messages=messages), None)
    found = read_content(ended, lambda text: redactor.redact_text(text)[0])
    assert "4111" not in str(found)
    assert "a@example.org" not in str(found)
    assert "[redacted card]" in str(found)


@pytest.mark.parametrize(
    "message",
    [None, 7, "text", [], {}, {"role": 3, "content": {"a": 1}}, {"content": [None, [[]], {}]},
     {"role": "tool", "content": {"deep": [[[[[[[[1]]]]]]]]}},
     {"tool_calls": [{"function": None}, {"function": "f"}, {"custom": 1}]}],
)  # fmt: skip
def test_messages_of_no_known_form_do_not_stop_a_span(message: Any) -> None:
    ended = Ended(make_call(), 1, Asked(messages=[message]), None)
    assert isinstance(parse(read_content(ended), "gen_ai.input.messages"), list)


KEYS = st.sampled_from(
    ["type", "role", "content", "text", "tool_calls", "function", "custom", "name", "arguments",
     "source", "url", "image_url", "id", "input", "output", "thinking", "call_id", "summary"]
)  # fmt: skip
KINDS = st.sampled_from(["text", "image", "tool_use", "tool_result", "function_call", "thinking"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | KINDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(messages=st.lists(JSON, max_size=5), tools=st.lists(JSON, max_size=3))
def test_whatever_was_asked_makes_bounded_json(messages: list[Any], tools: list[Any]) -> None:
    found = read_content(Ended(make_call(), 1, Asked(messages=messages, tools=tools), None))
    for value in found.values():
        if isinstance(value, str):
            parsed = msgspec.json.decode(value)
            assert len(value) <= ATTRIBUTE_CHARS
            assert all(isinstance(each, dict) for each in parsed)
    for message in parse(found, "gen_ai.input.messages") if messages else []:
        assert isinstance(message["role"], str)
        assert all(isinstance(part["type"], str) for part in message["parts"])
