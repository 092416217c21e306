"""A request stored as its difference to an earlier request of the same conversation.

::

    ledgergrid-frame/1 sha256:CvgnSXXNkjYhUsahLgV7Bkoe4m31cIDi9qltbiY9AQc 41 18 3
    ,{"role":"user","content":"And then?"}

The first line names the base, by the leaf hash of the entry that holds it, then how many bytes at
the beginning and at the end are the base's, and the depth: how many frames have to be undone until
a whole request is reached. All bytes behind the line end stand between the two. A conversation
repeats in every request what was said before; so its bytes are stored once, and once more whenever
the depth would pass ``limits.FRAME_DEPTH``.

A frame is told from a request by its media type, never by its bytes. docs/spec/frame.md has the
grammar and a golden vector.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import IntegrityError, MalformedError, TooLargeError

MEDIA_TYPE: Final = "application/vnd.ledgergrid.frame"

_HEAD: Final = re.compile(
    rb"ledgergrid-frame/1 (sha256:[A-Za-z0-9_-]{43})"
    rb" (0|[1-9][0-9]{0,8}) (0|[1-9][0-9]{0,8}) ([1-9][0-9]?)\n"
)
_BLOCK_BYTES: Final = 64 * 1024


class Base(msgspec.Struct, frozen=True):
    """A request already stored: its entry's leaf hash, its frame's depth (0: whole), its bytes."""

    leaf_hash: bytes
    depth: int
    whole: bytes


class Frame(msgspec.Struct, frozen=True):
    """A difference, taken apart."""

    base: bytes
    prefix_bytes: int
    suffix_bytes: int
    depth: int
    middle: bytes


Stored = tuple[str | None, bytes]
"""A stored request part: its media type and its bytes."""


def format_frame(frame: Frame) -> bytes:
    """Spell a frame."""
    head = (
        f"ledgergrid-frame/1 {ids.format_digest(frame.base)}"
        f" {frame.prefix_bytes} {frame.suffix_bytes} {frame.depth}\n"
    )
    return head.encode() + frame.middle


def parse_frame(data: bytes) -> Frame:
    """Take a frame apart; raise :class:`MalformedError` for any other spelling."""
    head = _HEAD.match(data)
    if head is None:
        raise MalformedError("not a frame: its first line is not as it must be")
    frame = Frame(
        base=ids.parse_digest(head[1].decode()),
        prefix_bytes=int(head[2]),
        suffix_bytes=int(head[3]),
        depth=int(head[4]),
        middle=data[head.end() :],
    )
    if frame.depth > limits.FRAME_DEPTH:
        raise TooLargeError(f"frame {frame.depth} deep: at most {limits.FRAME_DEPTH}")
    whole_bytes = frame.prefix_bytes + len(frame.middle) + frame.suffix_bytes
    if whole_bytes > limits.LLM_BODY_BYTES:
        raise TooLargeError(f"frame of {whole_bytes} bytes: at most {limits.LLM_BODY_BYTES}")
    return frame


def encode(base: Base, whole: bytes) -> bytes | None:
    """Make the frame of a request; None where storing it whole is better.

    That is at the greatest depth, and where the frame would be longer than half of the request:
    then little is saved, and the request would hang on another one for it.
    """
    if base.depth >= limits.FRAME_DEPTH or len(whole) > limits.LLM_BODY_BYTES:
        return None
    prefix = _common_prefix(base.whole, whole)
    suffix = _common_suffix(base.whole, whole, min(len(base.whole), len(whole)) - prefix)
    middle = whole[prefix : len(whole) - suffix]
    frame = format_frame(Frame(base.leaf_hash, prefix, suffix, base.depth + 1, middle))
    return frame if 2 * len(frame) <= len(whole) else None


def apply(frame: Frame, base: bytes) -> bytes:
    """Undo one frame over the whole bytes of its base."""
    if frame.prefix_bytes + frame.suffix_bytes > len(base):
        raise MalformedError("the frame takes more bytes than its base has")
    suffix = base[len(base) - frame.suffix_bytes :]
    return b"".join((base[: frame.prefix_bytes], frame.middle, suffix))


def decode(stored: Stored, fetch: Callable[[bytes], Stored]) -> bytes:
    """Return the whole bytes of a request part.

    ``fetch`` returns the request part of the entry with a leaf hash, and raises what is to be said
    of one that is not there or erased. Depths must fall by one at each step, so no chain is longer
    than the first frame says, and none is a ring.
    """
    chain: list[Frame] = []
    while stored[0] == MEDIA_TYPE:
        frame = parse_frame(stored[1])
        if chain and frame.depth != chain[-1].depth - 1:
            raise IntegrityError(f"a frame {chain[-1].depth} deep stands on one {frame.depth} deep")
        chain.append(frame)
        stored = fetch(frame.base)
    if chain and chain[-1].depth != 1:
        raise IntegrityError(f"a frame {chain[-1].depth} deep stands on a whole request")
    whole = stored[1]
    for frame in reversed(chain):
        whole = apply(frame, whole)
    return whole


def _common_prefix(left: bytes, right: bytes) -> int:
    """Count the bytes that both begin with.

    Slices are compared, block by block and then by halves: that runs at the speed of memcmp.
    """
    most = min(len(left), len(right))
    same = 0
    while same < most and left[same : same + _BLOCK_BYTES] == right[same : same + _BLOCK_BYTES]:
        same += _BLOCK_BYTES
    if same >= most:
        return most
    differs = min(same + _BLOCK_BYTES, most)
    while same < differs:
        middle = (same + differs + 1) // 2
        if left[same:middle] == right[same:middle]:
            same = middle
        else:
            differs = middle - 1
    return same


def _common_suffix(left: bytes, right: bytes, most: int) -> int:
    """Count the bytes that both end with, at most so many."""
    same = 0
    while same < most:
        step = min(_BLOCK_BYTES, most - same)
        if not _same_before(left, right, same, step):
            break
        same += step
    differs = min(same + _BLOCK_BYTES, most)
    while same < differs:
        half = (differs - same + 1) // 2
        if _same_before(left, right, same, half):
            same += half
        else:
            differs = same + half - 1
    return same


def _same_before(left: bytes, right: bytes, behind: int, count: int) -> bool:
    """Compare so many bytes, those before the last ``behind``."""
    end_left, end_right = len(left) - behind, len(right) - behind
    return left[end_left - count : end_left] == right[end_right - count : end_right]
