"""What waits until an answer's end is on the record, however the answer is cut into pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.proxy.holding import Events, Holding, LastByte, Nothing, holding_for

CHAT = (
    b'data: {"choices":[{"delta":{"content":"[DONE]"}}],"usage":null}\n\n'
    b": keep-alive\n\n"
    b'data:{"choices":[{"delta":{"content":"\xe2\x80\xa8"}}]}\r\n\r\n'
)
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"
MESSAGE = b'event: content_block_delta\ndata: {"type":"content_block_delta","x":"message_stop"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@st.composite
def _cut(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    places = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    edges = [0, *places, len(whole)]
    return [whole[a:b] for a, b in pairwise(edges) if a < b]


def run(holding: Holding, chunks: list[bytes]) -> tuple[bytes, bytes]:
    went = b"".join(holding.take(chunk) for chunk in chunks)
    return went, holding.rest()


@given(st.data())
def test_the_terminal_event_of_a_chat_waits(data: st.DataObject) -> None:
    chunks = data.draw(_cut(CHAT + DONE))
    assert run(Events("openai.chat", drops_usage=False), chunks) == (CHAT, DONE)


@given(st.data())
def test_usage_that_only_we_asked_for_is_dropped(data: st.DataObject) -> None:
    chunks = data.draw(_cut(CHAT + USAGE + DONE))
    assert run(Events("openai.chat", drops_usage=True), chunks) == (CHAT, DONE)
    asked = run(Events("openai.chat", drops_usage=False), chunks)
    assert asked == (CHAT + USAGE, DONE)


@given(st.data())
def test_usage_is_dropped_where_nothing_comes_behind_it_too(data: st.DataObject) -> None:
    chunks = data.draw(_cut(CHAT + USAGE.rstrip(b"\n")))
    assert run(Events("openai.chat", drops_usage=True), chunks) == (CHAT, b"")


@given(st.data())
def test_the_terminal_event_of_a_message_waits_with_all_behind_it(data: st.DataObject) -> None:
    chunks = data.draw(_cut(MESSAGE + STOP + b": bye\n\n"))
    found = run(Events("anthropic.messages", drops_usage=False), chunks)
    assert found == (MESSAGE, STOP + b": bye\n\n")


def test_a_whole_event_goes_at_once_and_a_piece_waits_for_the_rest() -> None:
    events = Events("openai.chat", drops_usage=False)
    assert events.take(b"data: 1\n\nda") == b"data: 1\n\n"
    assert events.take(b"ta: 2\n") == b""
    assert events.take(b"\n") == b"data: 2\n\n"


def test_an_endless_event_goes_on_in_pieces() -> None:
    events = Events("openai.chat", drops_usage=False)
    large = b"data: " + b"x" * (9 * 1024 * 1024)
    assert events.take(large) == large


@given(st.data())
def test_of_any_other_answer_the_last_byte_waits(data: st.DataObject) -> None:
    chunks = data.draw(_cut(b'{"answer":"42"}'))
    went, rest = run(LastByte(None), chunks)
    assert (went + rest, rest) == (b'{"answer":"42"}', b"}")
    went, rest = run(LastByte(15), chunks)
    assert went + rest == b'{"answer":"42"}'
    assert rest


@pytest.mark.parametrize(
    ("wire", "encoding", "kind"),
    [
        ("openai.chat", "", Events),
        ("openai.chat", "gzip", Nothing),
        ("other", "", Nothing),
    ],
)
def test_what_is_no_readable_stream_is_not_searched(
    wire: str, encoding: str, kind: type[Holding]
) -> None:
    found = holding_for(wire, "text/event-stream; charset=utf-8", encoding, None, drops_usage=True)
    assert type(found) is kind
