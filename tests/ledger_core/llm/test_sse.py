"""Server-sent events as the WHATWG standard has them, however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import limits
from ledger_core.llm import sse


def told(stream: bytes) -> list[tuple[str, bytes]]:
    return [(event.kind, event.data) for event in sse.Parser().feed(stream)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        # The examples of the standard, section 9.2.6.
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", b"YHOO\n+2\n10")]),
        (b": test stream\n\ndata: first event\nid: 1\n\n", [("message", b"first event")]),
        (b"data:second event\nid\n\ndata:  third event\n\n", [
            ("message", b"second event"), ("message", b" third event")]),
        (b"data: third event", []),
        (b"data:test\n\ndata: test\n\n", [("message", b"test"), ("message", b"test")]),
        # Line ends.
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [
            ("message", b"a"), ("message", b"b"), ("message", b"c")]),
        (b"data: a\r\ndata: b\r\n\r\n", [("message", b"a\nb")]),
        # What ends no line.
        ("data: a\u2028b\u0085c\u000bd\n\n".encode(), [
            ("message", "a\u2028b\u0085c\u000bd".encode())]),
        # A byte order mark, once.
        (b"\xef\xbb\xbfdata: a\n\n", [("message", b"a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"\xef\xbb\xbf\n\ndata: a\n\n", [("message", b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("message", b"a")]),
        # Types and fields.
        (b"event: ping\ndata: {}\n\ndata: x\n\n", [("ping", b"{}"), ("message", b"x")]),
        (b"event: a\nevent: b\ndata: x\n\n", [("b", b"x")]),
        (b"event: only\n\ndata: x\n\n", [("message", b"x")]),
        (b"DATA: a\ndata : b\nretry: 1\nfoo\n\n", []),
        (b"data\ndata\n\n", [("message", b"\n")]),
        (b"data:\n\n", [("message", b"")]),
        (b"data\n\n", [("message", b"")]),
        (b"\n\n\n", []),
        (b"", []),
    ],
)  # fmt: skip
def test_a_stream_means_what_the_standard_says(
    stream: bytes, expected: list[tuple[str, bytes]]
) -> None:
    assert told(stream) == expected


lines = st.sampled_from(
    [b"data: x", b"data:", b"data", b"event: e", b": c", b"", b"", b"id: 1", "data: ü€".encode()]
) | st.binary(max_size=8)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
odd = st.lists(st.tuples(lines, ends)).map(lambda told: b"".join(a + b for a, b in told))
plain = st.sampled_from(
    [b"data: x\n\n", b"event: e\ndata: y\n\n", b"event: \ndata: y\n\n", b"data: z\n"]
)
streams = st.lists(plain | odd, max_size=5).map(b"".join)


@given(streams, st.lists(st.integers(0, 200)), st.booleans())
def test_the_same_bytes_give_the_same_events_however_they_are_cut(
    stream: bytes, cuts: list[int], marked: bool
) -> None:
    stream = b"\xef\xbb\xbf" * marked + stream
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    cut = sse.Parser()
    events = []
    for start, end in itertools.pairwise(places):
        events += cut.feed(stream[start:end])
    whole = sse.Parser()
    assert events == whole.feed(stream)
    assert cut.settled == whole.settled
    assert cut.close() == whole.close()


@given(streams)
def test_one_byte_at_a_time_gives_the_same_events_as_all_at_once(stream: bytes) -> None:
    whole, slow = sse.Parser(), sse.Parser()
    at_once = whole.feed(stream)
    assert at_once == [event for byte in stream for event in slow.feed(bytes([byte]))]
    assert (whole.settled, whole.close()) == (slow.settled, slow.close())


@given(streams)
def test_events_stand_where_they_say_and_do_not_overlap(stream: bytes) -> None:
    parser = sse.Parser()
    events = parser.feed(stream)
    assert parser.settled <= len(stream)
    behind = 0
    for event in events:
        assert behind <= event.start < event.end <= parser.settled
        alone = stream[event.start : event.end]
        if event.start:
            # An event's bytes alone are that event: nothing of it stands elsewhere.
            (again,) = sse.Parser().feed(b"\n" + alone + b"\n")
            assert (again.kind, again.data) == (event.kind, event.data)
        behind = event.end


def test_one_byte_at_a_time_cuts_characters_and_line_ends_in_two() -> None:
    stream = 'data: {"a":"日本\u2028"}\r\n\r\nevent: x\rdata: y\r\r'.encode()
    parser = sse.Parser()
    events = [event for byte in stream for event in parser.feed(bytes([byte]))]
    assert [event.data for event in events] == ['{"a":"日本\u2028"}'.encode()]
    # The last CR may be half of a CRLF; the end of the stream says that it is not.
    last = parser.close()
    assert last
    assert (last.kind, last.data, last.end) == ("x", b"y", len(stream))


def test_what_stands_without_its_blank_line_at_the_end_is_given_out_at_the_end() -> None:
    parser = sse.Parser()
    assert parser.feed(b"data: a\n\ndata: [DONE]") != []
    assert parser.settled == 9
    last = parser.close()
    assert last
    assert (last.data, last.start, last.end) == (b"[DONE]", 9, 21)


def test_an_event_too_large_is_dropped_and_counted_and_the_next_one_read() -> None:
    parser = sse.Parser()
    piece = b"x" * (limits.LLM_EVENT_BYTES // 4)
    parser.feed(b"data: ")
    for _ in range(5):
        assert parser.feed(piece) == []
    assert parser.overlong == 0
    events = parser.feed(b"\ndata: more of it\n\ndata: next\n\n")
    assert [event.data for event in events] == [b"next"]
    assert parser.overlong == 1
    assert events[0].start == 6 + 5 * len(piece) + 1 + len(b"data: more of it\n\n")


def test_a_large_event_in_many_pieces_takes_time_by_its_size() -> None:
    parser = sse.Parser()
    for _ in range(20_000):
        parser.feed(b"data: " + b"y" * 50)
    assert parser.feed(b"\n\n")
