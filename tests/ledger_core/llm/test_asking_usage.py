"""Asking for a stream's usage: one insertion, everything else untouched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.llm import asking_usage, wire


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"stream":true}', '{"stream_options":{"include_usage":true},"stream":true}'),
        (
            ' {\n  "stream" : true , "x":"\\u2028"}\n',
            ' {\n  "stream_options":{"include_usage":true},"stream" : true , "x":"\\u2028"}\n',
        ),
        (
            '{"stream":true,"stream_options":null}',
            '{"stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            '{"stream_options" : {} ,"stream":true}',
            '{"stream_options" : {"include_usage":true} ,"stream":true}',
        ),
        (
            '{"stream":true,"stream_options":{ "a":[1.50] }}',
            '{"stream":true,"stream_options":{"include_usage":true, "a":[1.50] }}',
        ),
        (
            '{"stream":true,"stream_options":{"include_usage" : false,"a":1}}',
            '{"stream":true,"stream_options":{"include_usage" : true,"a":1}}',
        ),
        (
            '{"stream":true,"stream_options":{"include_usage":null}}',
            '{"stream":true,"stream_options":{"include_usage":true}}',
        ),
        # A text that speaks of it is no second one.
        (
            '{"stream":true,"messages":["{\\"stream_options\\":{}}"],"stream_options":{}}',
            '{"stream":true,"messages":["{\\"stream_options\\":{}}"],'
            '"stream_options":{"include_usage":true}}',
        ),
    ],
)
def test_what_is_not_asked_for_is_asked_for_by_one_insertion(body: str, expected: str) -> None:
    assert wire.ask_for_usage(body.encode()) == expected.encode()


@pytest.mark.parametrize(
    "body",
    [
        # It asks already, or does not stream.
        '{"stream":true,"stream_options":{"include_usage":true}}',
        '{"stream":false}',
        "{}",
        '{"stream":"true"}',
        '{"stream":1}',
        # It cannot be done safely.
        '{"stream":true,"stream_options":{},"stream_options":{}}',
        '{"stream":true,"x":{"stream_options":{}},"stream_options":{}}',
        '{"stream":true,"stream_options":{"include_usage":false,"x":{"include_usage":false}}}',
        '{"stream":true,"stream_options":{"include_usage":0}}',
        '{"stream":true,"stream_options":[]}',
        '{"stream":true,"stream_options":"x"}',
        '{"stream":true,"stream\\u005foptions":{}}',
        '{"stream":true} x',
        '{"stream":true,}',
        '[{"stream":true}]',
        '\ufeff{"stream":true}',
        '{"stream":true,"a":"\\ud800"}',
        "",
    ],
)
def test_what_asks_already_or_cannot_safely_be_changed_is_left_alone(body: str) -> None:
    assert wire.ask_for_usage(body.encode("utf-8", "surrogatepass")) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
options = st.dictionaries(st.sampled_from(["include_usage", "a", "b"]), values, max_size=3)


@given(
    st.dictionaries(st.text(), values, max_size=4),
    st.none() | options,
    st.booleans(),
    st.sampled_from([None, 0, 2]),
)
def test_the_changed_request_differs_in_nothing_else(
    fields: dict[str, Any], told: dict[str, Any] | None, is_first: bool, indent: int | None
) -> None:
    request = {**fields, "stream": True}
    if told is not None:
        given_options = {"stream_options": told}
        request = {**given_options, **request} if is_first else {**request, **given_options}
    body = json.dumps(request, indent=indent).encode()
    asking = wire.ask_for_usage(body)
    if asking is None:
        return
    changed = json.loads(asking)
    wanted = {**(request.get("stream_options") or {}), "include_usage": True}
    assert changed == {**request, "stream_options": wanted}
    # Put beside each other, they share their beginning and their end.
    same = 0
    while same < len(body) and body[same] == asking[same]:
        same += 1
    rest = body[same:]
    assert asking.endswith(rest) or b"false" in rest or b"null" in rest


def test_twenty_megabytes_are_asked_in_time() -> None:
    body = b'{"messages":[{"content":"' + b"x" * 20_000_000 + b'"}],"stream":true}'
    asking = wire.ask_for_usage(body)
    assert asking
    assert len(asking) == len(body) + len('"stream_options":{"include_usage":true},')


@given(st.binary())
def test_no_bytes_make_it_raise(body: bytes) -> None:
    wire.ask_for_usage(body)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ('{"choices":[],"usage":{"prompt_tokens":1}}', None),
        ('{"choices": [ ],"usage":{"prompt_tokens":1},"error":null}', None),
        ('{"choices":[{}],"usage":null,"x":1}', '{"choices":[{}],"x":1}'),
        ('{"choices":[{}], "usage": null}', '{"choices":[{}]}'),
        ('{"usage":null, "choices":[]}', '{"choices":[]}'),
        ('{"choices":[],"usage":{},"error":{"message":"x"}}', ...),
        ('{"choices":[{}],"usage":{"prompt_tokens":1}}', ...),
        ('{"choices":[{"usage":null}],"usage":null}', ...),
        ('{"choices":[{"usage":null}]}', ...),
        ('{"choices":[{"delta":{"content":",\\"usage\\":null"}}]}', ...),
        ('{"choices":[],"usage":7}', ...),
        ('{"choices":[],"usage":null', ...),
        ("[DONE]", ...),
    ],
)
def test_an_event_comes_as_if_usage_had_not_been_asked_for(told: str, kept: Any) -> None:
    event = f": hi\ndata: {told}\r\n\r\n"
    expected = event if kept is ... else "" if kept is None else event.replace(told, kept)
    assert asking_usage.unasked(event.encode(), told.encode()).decode() == expected
