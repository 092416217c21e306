"""OpenAI chat completions, and the ways of those who speak them too."""

from __future__ import annotations

import json
from typing import Any

from ledger_core.llm import wire
from ledger_core.llm.model import Answered, Asked, ToolCall, Usage


def read(message: Any = None, **fields: Any) -> Answered:
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **fields}
    return wire.parse_response("openai.chat", 200, json.dumps(body).encode(), "application/json")


def ask(**fields: Any) -> Asked:
    return wire.parse_request("openai.chat", json.dumps(fields).encode())


def stream(*chunks: Any, done: bool = True) -> bytes:
    data = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    return "".join(f"data: {each}\n\n" for each in [*data, *(["[DONE]"] * done)]).encode()


def read_stream(*chunks: Any, done: bool = True) -> Answered:
    return wire.parse_response("openai.chat", 200, stream(*chunks, done=done), "text/event-stream")


def delta(index: int = 0, finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": fields, "finish_reason": finish_reason}
    return {"id": "c1", "model": "m", "choices": [choice]}


def test_every_choice_is_kept_and_their_texts_are_joined() -> None:
    body = {
        "choices": [
            {"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
            {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
        ]
    }
    answered = wire.parse_response("openai.chat", 200, json.dumps(body).encode())
    assert [(each.index, each.content) for each in answered.choices] == [(1, "b"), (0, "a")]
    assert (answered.content, answered.stop_reason) == ("b\n\na", "length")
    streamed = read_stream(delta(0, content="a"), delta(1, content="b"), delta(0, content="A"))
    assert [(each.index, each.content) for each in streamed.choices] == [(0, "aA"), (1, "b")]
    assert streamed.content == "aA\n\nb"


def test_a_refusal_is_no_content() -> None:
    answered = read({"content": None, "refusal": "I will not."})
    assert (answered.content, answered.refusal) == (None, "I will not.")
    answered = read_stream(delta(refusal="I will "), delta(refusal="not."))
    assert (answered.content, answered.refusal) == (None, "I will not.")


def test_a_custom_tool_call_has_its_input_as_text() -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    expected = (ToolCall(id="c1", name="sql", arguments="SELECT 1", kind="custom"),)
    assert read({"tool_calls": [call]}).tool_calls == expected
    first = {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "sql", "input": ""}}
    pieces = [{"index": 0, "custom": {"input": piece}} for piece in ("SELECT", " 1")]
    streamed = read_stream(*(delta(tool_calls=[each]) for each in (first, *pieces)))
    assert streamed.tool_calls == expected


def test_a_legacy_function_call_is_a_tool_call_without_id() -> None:
    expected = (ToolCall(name="f", arguments='{"a":1}'),)
    assert read({"function_call": {"name": "f", "arguments": '{"a":1}'}}).tool_calls == expected
    streamed = read_stream(
        delta(function_call={"name": "f", "arguments": ""}),
        delta(function_call={"arguments": '{"a"'}),
        delta(function_call={"arguments": ":1}"}),
    )
    assert streamed.tool_calls == expected


def test_calls_of_a_server_that_gives_all_of_them_one_index_are_told_apart_by_id() -> None:
    calls = [
        {"index": 0, "id": name, "function": {"name": name, "arguments": "{}"}} for name in "ab"
    ]
    assert [each.name for each in read_stream(delta(tool_calls=calls)).tool_calls] == ["a", "b"]
    for call in calls:
        del call["index"]
    assert [each.name for each in read_stream(delta(tool_calls=calls)).tool_calls] == ["a", "b"]


def test_interleaved_tool_calls_are_put_together_by_index() -> None:
    first = [
        {"index": index, "id": f"c{index}", "function": {"name": f"f{index}", "arguments": ""}}
        for index in (0, 1)
    ]
    rest = [{"index": index, "function": {"arguments": f"[{index}]"}} for index in (1, 0)]
    streamed = read_stream(delta(tool_calls=first), *(delta(tool_calls=[each]) for each in rest))
    assert [each.arguments for each in streamed.tool_calls] == ["[0]", "[1]"]


def test_reasoning_is_read_in_all_its_spellings() -> None:
    assert read({"content": "a", "reasoning_content": "hm"}).reasoning == "hm"
    assert read({"content": "a", "reasoning": "hm"}).reasoning == "hm"
    details = [{"type": "reasoning.text", "text": "h"}, {"summary": "m"}, {"data": "x"}]
    assert read({"content": "a", "reasoning_details": details}).reasoning == "hm"
    streamed = read_stream(delta(reasoning_content="h"), delta(reasoning_content="m"))
    assert (streamed.reasoning, streamed.content) == ("hm", None)


def test_a_spoken_answer_s_content_is_its_transcript() -> None:
    assert (
        read({"content": None, "audio": {"transcript": "hello", "data": "AA"}}).content == "hello"
    )


def test_a_null_usage_is_none_and_the_last_usage_counts() -> None:
    assert read({"content": "a"}, usage=None).usage is None
    chunk = {**delta(content="a"), "usage": None}
    last = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    assert read_stream(chunk).usage is None
    streamed = read_stream({**delta(content="a"), "usage": {"prompt_tokens": 3}}, last)
    assert streamed.usage == Usage(tokens_in=3, tokens_out=4)


def test_hostile_counts_are_unknown_and_not_zero() -> None:
    for told in (-1, 1.5, "3", True, None, 2**53, [1]):
        usage = read({"content": "a"}, usage={"prompt_tokens": told}).usage
        assert usage
        assert usage.tokens_in is None
    usage = read({"content": "a"}, usage={"prompt_tokens": 3.0}).usage
    assert usage
    assert usage.tokens_in == 3


def test_audio_cached_and_reasoning_tokens_are_parts_of_the_whole() -> None:
    usage = read(
        {"content": "a"},
        usage={
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 5},
        },
    ).usage
    assert usage
    assert (usage.tokens_in, usage.tokens_out, usage.tokens_cached) == (100, 50, 60)
    assert (usage.tokens_reasoning, usage.tokens_audio) == (20, 15)


def test_reasoning_that_a_server_counts_apart_belongs_to_the_output() -> None:
    usage = read(
        {"content": "a"},
        usage={
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 115,
            "completion_tokens_details": {"reasoning_tokens": 100},
        },
    ).usage
    assert usage
    assert usage.tokens_out == 105


def test_deepseek_s_cache_hits_are_cached_tokens() -> None:
    usage = read({"content": "a"}, usage={"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}).usage
    assert usage
    assert usage.tokens_cached == 4


def test_what_openrouter_charges_is_read_rounded_up_with_the_upstream_s_part() -> None:
    for cost, is_byok, upstream, expected in (
        (0.00256995, False, 0.00256995, 2570),
        (0.000114, False, None, 114),
        (0, True, 0.0002265, 227),
        (1e-9, None, None, 1),
        (0, False, None, 0),
        (-1, False, None, None),
        ("1", False, None, None),
        (1e300, False, None, None),
    ):
        told = {"cost": cost, "is_byok": is_byok}
        usage = {**told, "cost_details": {"upstream_inference_cost": upstream}}
        found = read({"content": "a"}, usage=usage).usage
        assert found
        assert found.cost_microusd == expected


def test_an_error_in_the_middle_of_a_stream_is_told_with_what_came_before() -> None:
    answered = read_stream(
        delta(content="half"),
        {"error": {"code": 502, "message": "upstream died"}, "choices": []},
        done=False,
    )
    assert (answered.content, answered.error_type) == ("half", "502")
    assert answered.error_detail == "upstream died"


def test_a_broken_event_does_not_hide_the_others() -> None:
    answered = read_stream(delta(content="a"), "{broken", delta(content="b"), "[1]")
    assert answered.content == "ab"
    assert "event at byte" in (answered.parse_error or "")


def test_separators_lone_surrogates_and_nul_are_text() -> None:
    line = 'data: {"choices":[{"delta":{"content":"a\u2028b\\ud800c\\u0000"}}]}\r\n\r\n'
    answered = wire.parse_response("openai.chat", 200, line.encode(), "text/event-stream")
    assert answered.content == "a\u2028b\ufffdc\0"


def test_the_request_s_facts_are_read() -> None:
    asked = ask(
        model="gpt-4o",
        stream=True,
        stream_options={"include_usage": True},
        max_completion_tokens=5,
        max_tokens=9,
        temperature=0,
        n=2,
        user="u1",
        messages=[
            {"role": "system", "content": "one"},
            {"role": "developer", "content": [{"type": "text", "text": "two"}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
            {"role": "function", "name": "f", "content": "43"},
        ],
    )
    assert asked.system_prompt == "one\ntwo"
    assert asked.tool_results == [
        {"tool_call_id": "c1", "content": "42"},
        {"name": "f", "content": "43"},
    ]
    assert (asked.max_tokens, asked.temperature, asked.n) == (5, 0.0, 2)
    assert (asked.user_id, asked.wants_usage, asked.media) == ("u1", True, ("image",))
    assert ask(user="a", safety_identifier="b").user_id == "b"


def test_a_stream_beyond_the_bound_is_cut_but_its_usage_still_read() -> None:
    piece = delta(content="x" * 8_000_000)
    last = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    answered = read_stream(*[piece] * 9, last)
    assert answered.usage == Usage(tokens_in=1, tokens_out=2)
    assert answered.content
    assert len(answered.content) == 64_000_000
    assert "left out" in (answered.parse_error or "")


def test_a_stream_under_another_name_is_read_as_one() -> None:
    answered = wire.parse_response("openai.chat", 200, stream(delta(content="a")), "text/plain")
    assert (answered.content, answered.parse_error) == ("a", None)
