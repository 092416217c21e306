"""What waits until an answer's end is on the record, however the answer is cut into pieces."""

from __future__ import annotations

import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.proxy.holding import Coded, Events, Holding, LastByte, Nothing, holding_for
from ledger_core.llm.wire import Wire

CHAT = (
    b'data: {"choices":[{"delta":{"content":"[DONE]"}}],"usage":null}\n\n'
    b": keep-alive\n\n"
    b'data:{"choices":[{"delta":{"content":"\xe2\x80\xa8"}}]}\r\n\r\n'
)
UNASKED = CHAT.replace(b',"usage":null', b"")
ERROR = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
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


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"])
def test_lines_end_as_they_may(end: bytes) -> None:
    lines = b'data: {"type":\rdata: "message_stop"}' + end
    found = run(Events("anthropic.messages", drops_usage=False), [MESSAGE, lines, b": x\n\n"])
    assert found == (MESSAGE, lines + b": x\n\n")


@given(st.data())
def test_usage_that_only_we_asked_for_is_dropped(data: st.DataObject) -> None:
    chunks = data.draw(_cut(CHAT + USAGE + DONE))
    assert run(Events("openai.chat", drops_usage=True), chunks) == (UNASKED, DONE)
    asked = run(Events("openai.chat", drops_usage=False), chunks)
    assert asked == (CHAT + USAGE, DONE)


@given(st.data())
def test_usage_is_dropped_where_nothing_comes_behind_it_too(data: st.DataObject) -> None:
    chunks = data.draw(_cut(CHAT + USAGE.rstrip(b"\n")))
    assert run(Events("openai.chat", drops_usage=True), chunks) == (UNASKED, b"")


@given(st.data())
def test_the_terminal_event_of_a_message_waits_with_all_behind_it(data: st.DataObject) -> None:
    chunks = data.draw(_cut(MESSAGE + STOP + b": bye\n\n"))
    found = run(Events("anthropic.messages", drops_usage=False), chunks)
    assert found == (MESSAGE, STOP + b": bye\n\n")


@pytest.mark.parametrize("wire", ["anthropic.messages", "openai.responses"])
def test_an_error_in_a_stream_is_its_end_and_waits(wire: Wire) -> None:
    assert run(Events(wire, drops_usage=False), [MESSAGE, ERROR]) == (MESSAGE, ERROR)


@given(st.data())
def test_of_a_compressed_stream_the_piece_with_its_end_waits(data: st.DataObject) -> None:
    packer = zlib.compressobj(wbits=31)
    sync = [packer.compress(x) + packer.flush(zlib.Z_SYNC_FLUSH) for x in (MESSAGE, STOP)]
    whole = [*sync, packer.flush()]
    coded = holding_for("anthropic.messages", "text/event-stream", "gzip", None, drops_usage=False)
    assert run(coded, whole) == (sync[0], b"".join(whole[1:]))
    chunks = data.draw(_cut(b"".join(whole)))
    coded = holding_for("anthropic.messages", "text/event-stream", "gzip", None, drops_usage=False)
    went, rest = run(coded, chunks)
    assert went + rest == b"".join(whole)
    assert STOP not in zlib.decompressobj(wbits=31).decompress(went)


def test_a_coding_that_breaks_is_the_client_s_to_read() -> None:
    coded = holding_for("openai.chat", "text/event-stream", "gzip", None, drops_usage=False)
    assert run(coded, [b"no gzip", b"at all"]) == (b"no gzipat all", b"")


def test_a_whole_event_goes_at_once_and_a_piece_waits_for_the_rest() -> None:
    events = Events("openai.chat", drops_usage=False)
    assert events.take(b"data: 1\n\nda") == b"data: 1\n\n"
    assert events.take(b"ta: 2\n") == b""
    assert events.take(b"\n") == b"data: 2\n\n"


def test_an_event_of_any_depth_goes_on() -> None:
    depth = 100_000
    deep = b'data: {"usage":%b,"message_stop":0}\n\n' % (b"[" * depth + b"]" * depth)
    wires: list[Wire] = ["openai.chat", "anthropic.messages"]
    for wire in wires:
        assert run(Events(wire, drops_usage=True), [deep]) == (deep, b"")


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
        ("openai.chat", "gzip", Coded),
        ("openai.chat", "compress", Nothing),
        ("other", "", Events),
    ],
)
def test_a_stream_is_searched_for_its_end_if_it_can_be_read(
    wire: Wire, encoding: str, kind: type[Holding]
) -> None:
    found = holding_for(wire, "text/event-stream; charset=utf-8", encoding, None, drops_usage=True)
    assert type(found) is kind
