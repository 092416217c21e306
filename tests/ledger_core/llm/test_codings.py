"""Content codings undone: all that the field uses, stacked, cut, and never past the bound."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import limits
from ledger_core.errors import MalformedError, TooLargeError
from ledger_core.llm import codings, wire


def deflate_alone(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
CODINGS = sorted(ENCODE)


@given(st.binary(max_size=4_000), st.lists(st.sampled_from(CODINGS), max_size=3), st.data())
def test_stacked_codings_are_undone_in_order_however_the_bytes_are_cut(
    body: bytes, stack: list[str], data: st.DataObject
) -> None:
    encoded = body
    for coding in stack:
        encoded = ENCODE[coding](encoded)
    told = ", ".join(stack)
    assert codings.decode(encoded, told) == body
    decoder = codings.Decoder(told)
    cut = data.draw(st.integers(0, len(encoded)))
    assert decoder.decode(encoded[:cut]) + decoder.decode(encoded[cut:]) == body
    assert decoder.ended


def test_deflate_is_read_without_its_header_too() -> None:
    body = b"some text, some text"
    assert codings.decode(deflate_alone(body), "deflate") == body
    decoder = codings.Decoder("deflate")
    raw = deflate_alone(body)
    assert b"".join(decoder.decode(raw[at : at + 1]) for at in range(len(raw))) == body


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_that_follow_each_other_are_one_body(coding: str) -> None:
    encode = ENCODE[coding]
    assert codings.decode(encode(b"one ") + encode(b"two"), coding) == b"one two"


def test_padding_behind_gzip_is_ignored() -> None:
    assert codings.decode(gzip.compress(b"one") + bytes(512), "gzip") == b"one"


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_cut_off_is_told_as_that(coding: str) -> None:
    encoded = ENCODE[coding](bytes(range(256)) * 50)
    with pytest.raises(MalformedError):
        codings.decode(encoded[:-5], coding)
    decoder = codings.Decoder(coding)
    assert bytes(range(200)) in decoder.decode(encoded[:-5]) or coding == "zstd"
    assert not decoder.ended


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_given_up_at_the_bound(coding: str) -> None:
    bomb = ENCODE[coding](bytes(10_000_000))
    with pytest.raises(TooLargeError):
        codings.Decoder(coding, 9_999_999).decode(bomb)
    assert len(codings.Decoder(coding, 10_000_000).decode(bomb)) == 10_000_000


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_bomb_within_a_bomb_is_given_up_at_the_bound(coding: str) -> None:
    bomb = ENCODE[coding](ENCODE[coding](bytes(10_000_000)))
    with pytest.raises(TooLargeError):
        codings.Decoder(f"{coding}, {coding}", 9_000_000).decode(bomb)


def test_no_body_makes_more_than_a_body_may_have() -> None:
    with pytest.raises(TooLargeError):
        codings.decode(ENCODE["zstd"](bytes(limits.LLM_BODY_BYTES + 1)), "zstd")


@given(st.binary(max_size=200), st.sampled_from([*CODINGS, "compress", "x", "", "gzip,,br", "  "]))
def test_no_bytes_and_no_name_raise_anything_else(body: bytes, coding: str) -> None:
    try:
        codings.decode(body, coding)
    except MalformedError as error:
        assert str(error)


def test_identity_changes_nothing_and_more_than_four_codings_are_refused() -> None:
    assert codings.decode(b"a", "identity") == b"a"
    assert codings.decode(b"a", " , Identity ,") == b"a"
    with pytest.raises(TooLargeError):
        codings.decode(b"a", ",".join(["gzip"] * 5))


@pytest.mark.parametrize("coding", CODINGS)
def test_requests_answers_and_streams_are_read_through_their_coding(coding: str) -> None:
    encode = ENCODE[coding]
    asked = wire.parse_request("openai.chat", encode(b'{"model":"m"}'), None, coding.upper())
    assert asked.model == "m"
    body = encode(b'{"choices":[{"message":{"content":"hi"}}]}')
    answered = wire.parse_response("openai.chat", 200, body, "application/json", coding)
    assert (answered.content, answered.parse_error) == ("hi", None)
    stream = encode(b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n')
    reader = wire.Reader("openai.chat", 200, "text/event-stream", coding)
    for at in range(len(stream)):
        reader.feed(stream[at : at + 1])
    assert reader.answered().content == "hi"
    assert reader.ended


def test_an_unknown_coding_is_a_parse_error() -> None:
    answered = wire.parse_response("openai.chat", 200, b"{}", "application/json", "compress")
    assert "compress" in (answered.parse_error or "")
    asked = wire.parse_request("openai.chat", b"{}", "application/json", "compress")
    assert "compress" in (asked.parse_error or "")
