"""Frames: a conversation's requests as differences, and back to the byte."""

from __future__ import annotations

import json
import re
import time
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger_core import limits
from ledger_core.errors import ErasedError, IntegrityError, MalformedError, TooLargeError
from ledger_core.llm import frames
from ledger_core.llm.frames import Base, Frame

SPEC = Path(__file__).resolve().parents[3] / "docs" / "spec" / "frame.md"
HASH = bytes(range(32))

pieces = st.binary(max_size=200)
sizes = st.integers(0, 999_999_999)

HANGS_S = 60
"""Longer than this is no slow machine."""


@given(st.binary(min_size=32, max_size=32), sizes, sizes, st.integers(1, 32), pieces)
def test_what_is_formatted_parses_and_what_parses_formats_back(
    base: bytes, prefix: int, suffix: int, depth: int, middle: bytes
) -> None:
    frame = Frame(base, prefix, suffix, depth, middle)
    assume(prefix + suffix + len(middle) <= limits.LLM_BODY_BYTES)
    assert frames.parse_frame(frames.format_frame(frame)) == frame


@given(pieces, pieces, pieces, pieces, pieces)
def test_a_frame_over_its_base_gives_the_request_again(
    head: bytes, before: bytes, after: bytes, tail: bytes, other: bytes
) -> None:
    for base, whole in ((head + before + tail, head + after + tail), (before, other)):
        frame = frames.encode(Base(HASH, 0, base), whole)
        if frame is not None:
            assert frames.apply(frames.parse_frame(frame), base) == whole
            assert 2 * len(frame) <= len(whole)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_beginning_and_end_are_as_long_as_they_can_be(left: bytes, right: bytes) -> None:
    prefix = frames._common_prefix(left, right)
    assert left[:prefix] == right[:prefix]
    assert left[prefix : prefix + 1] != right[prefix : prefix + 1] or left == right
    most = min(len(left), len(right)) - prefix
    suffix = frames._common_suffix(left, right, most)
    assert suffix <= most
    assert left[len(left) - suffix :] == right[len(right) - suffix :]
    if suffix < most:
        assert left[-suffix - 1] != right[-suffix - 1]


@pytest.mark.parametrize("at", [0, 1, 65_535, 65_536, 65_537, 131_072, 199_999])
def test_one_other_byte_is_found_wherever_it_stands(at: int) -> None:
    base = bytes(200_000)
    whole = base[:at] + b"x" + base[at + 1 :]
    frame = frames.encode(Base(HASH, 0, base), whole)
    assert frame
    parsed = frames.parse_frame(frame)
    assert (parsed.prefix_bytes, parsed.middle) == (at, b"x")
    assert parsed.suffix_bytes == 199_999 - at


def conversation(turns: int) -> list[bytes]:
    messages = [{"role": "system", "content": "You are careful. " * 20}]
    requests = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Question {turn}? " * 8})
        requests.append(json.dumps({"messages": messages, "model": "m", "stream": True}).encode())
        messages.append({"role": "assistant", "content": f"Answer {turn}. " * 12})
    return requests


def store(requests: list[bytes]) -> tuple[dict[bytes, frames.Stored], list[bytes]]:
    """Store a conversation as the proxy does: each request over the one before."""
    stored: dict[bytes, frames.Stored] = {}
    base: Base | None = None
    for whole in requests:
        frame = frames.encode(base, whole) if base else None
        leaf_hash = sha256(whole).digest()
        stored[leaf_hash] = (frames.MEDIA_TYPE, frame) if frame else ("application/json", whole)
        base = Base(leaf_hash, base.depth + 1 if base and frame else 0, whole)
    return stored, [sha256(whole).digest() for whole in requests]


def test_a_conversation_of_a_hundred_turns_takes_a_tenth_and_comes_back() -> None:
    requests = conversation(100)
    stored, names = store(requests)
    for name, whole in zip(names, requests, strict=True):
        assert frames.decode(stored[name], stored.__getitem__) == whole
    assert sum(len(body) for _, body in stored.values()) * 10 < sum(map(len, requests))
    depths = [frames.parse_frame(body).depth for kind, body in stored.values() if is_frame(kind)]
    assert max(depths) == limits.FRAME_DEPTH


def is_frame(media_type: str | None) -> bool:
    return media_type == frames.MEDIA_TYPE


def test_an_erased_base_makes_its_frames_say_that_they_are_erased() -> None:
    stored, names = store(conversation(5))

    def fetch(leaf_hash: bytes) -> frames.Stored:
        raise ErasedError("erased")

    with pytest.raises(ErasedError):
        frames.decode(stored[names[4]], fetch)


@pytest.mark.parametrize(
    "line",
    [
        "ledgergrid-frame/2 HASH 0 0 1\n",
        "ledgergrid-frame/1 HASH 00 0 1\n",
        "ledgergrid-frame/1 HASH 0 -0 1\n",
        "ledgergrid-frame/1 HASH 0 0 0\n",
        "ledgergrid-frame/1 HASH 0 0 01\n",
        "ledgergrid-frame/1 HASH 0 0 100\n",
        "ledgergrid-frame/1 HASH  0 0 1\n",
        "ledgergrid-frame/1 HASH 0 0 1 \n",
        "ledgergrid-frame/1 HASH 0 0 1\r\n",
        "ledgergrid-frame/1 HASH 1_0 0 1\n",
        "ledgergrid-frame/1 HASH ٣ 0 1\n",
        "ledgergrid-frame/1 HASH 0 0 1",
        " ledgergrid-frame/1 HASH 0 0 1\n",
        "ledgergrid-frame/1 sha256:AAAA 0 0 1\n",
        "ledgergrid-frame/1 md5:" + "A" * 43 + " 0 0 1\n",
        "ledgergrid-frame/1 sha256:" + "A" * 42 + "B 0 0 1\n",
        "",
    ],
)
def test_any_other_spelling_is_refused(line: str) -> None:
    digest = "sha256:" + "A" * 43
    with pytest.raises(MalformedError):
        frames.parse_frame(line.replace("HASH", digest).encode())


def test_a_frame_too_deep_or_too_large_is_refused() -> None:
    head = b"ledgergrid-frame/1 sha256:" + b"A" * 43
    with pytest.raises(TooLargeError):
        frames.parse_frame(head + b" 0 0 33\n")
    with pytest.raises(TooLargeError):
        frames.parse_frame(head + b" 67108864 1 1\n")


def test_a_frame_that_takes_more_than_its_base_has_is_refused() -> None:
    with pytest.raises(MalformedError):
        frames.apply(Frame(HASH, 3, 2, 1, b""), b"abcd")


@pytest.mark.parametrize("depths", [(1, 1), (2, 2), (3, 1), (1, 2), (2,)])
def test_depths_that_do_not_fall_by_one_are_refused(depths: tuple[int, ...]) -> None:
    """No ring is walked, and no chain longer than it says."""
    chain = [
        (frames.MEDIA_TYPE, frames.format_frame(Frame(bytes([place] * 32), 0, 0, depth, b"x")))
        for place, depth in enumerate(depths)
    ]

    def fetch(leaf_hash: bytes) -> frames.Stored:
        return chain[leaf_hash[0] + 1] if leaf_hash[0] + 1 < len(chain) else (None, b"whole")

    with pytest.raises((IntegrityError, MalformedError)):
        frames.decode(chain[0], fetch)


def test_what_has_little_in_common_is_stored_whole() -> None:
    assert frames.encode(Base(HASH, 0, b"abc" * 100), b"xyz" * 100) is None
    assert frames.encode(Base(HASH, limits.FRAME_DEPTH, b"a" * 500), b"a" * 500) is None
    assert frames.encode(Base(HASH, 0, b""), b"") is None


def test_twenty_megabytes_are_not_gone_through_byte_by_byte() -> None:
    base = bytes(20_000_000)
    whole = base[:11_000_003] + b"x" + base[11_000_003:]
    began = time.perf_counter()
    assert frames.encode(Base(HASH, 0, base), whole)
    # About 10 ms; a loop over pairs of bytes would take a day.
    assert time.perf_counter() - began < HANGS_S


def test_the_specification_s_golden_vector_holds() -> None:
    blocks = re.findall(r"```golden\n(.*?)\n```", SPEC.read_text(), re.DOTALL)
    frame, base, whole = (block.encode() for block in blocks)
    leaf_hash = sha256(b"\x00" + base).digest()
    assert frames.parse_frame(frame).base == leaf_hash
    assert frames.encode(Base(leaf_hash, 0, base), whole) == frame
    assert frames.decode((frames.MEDIA_TYPE, frame), {leaf_hash: (None, base)}.__getitem__) == whole
