"""Vectors of sealed segments (docs/spec/segment.md): items, their root, proofs of one."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from ledger_core import ids
from tests.vectors.build import Case, accept, refuse, show

ABOUT = "Sealed segments: items as bytes, their root, proofs of single items"
PAGE = "segment.md"

TICKS = [b'{"node":"n%d","cpu":%d}' % (number, 10 * number) for number in range(5)]
BEGUN, ENDED = "2026-08-01T10:00:00.000Z", "2026-08-01T11:00:00.000Z"


def leaf(item: bytes) -> bytes:
    return sha256(b"\x00" + item).digest()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root_of(items: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, as it is written."""
    if len(items) == 1:
        return leaf(items[0])
    split = 1 << (len(items) - 1).bit_length() - 1
    return node(root_of(items[:split]), root_of(items[split:]))


def spell(items: list[bytes]) -> bytes:
    return b"".join(len(item).to_bytes(2, "big") + item for item in items)


BODY: dict[str, Any] = {
    "root": ids.format_digest(root_of(TICKS)),
    "count": len(TICKS),
    "kind": "ticks",
    "from": BEGUN,
    "to": ENDED,
}
PARTS: dict[str, Any] = {
    "body": BODY,
    "items": {"hex": spell(TICKS).hex(), "media_type": "application/octet-stream"},
}
PATH_OF_2 = [leaf(TICKS[3]), node(leaf(TICKS[0]), leaf(TICKS[1])), leaf(TICKS[4])]


def bad_parts() -> dict[str, dict[str, Any]]:
    """Return payloads that follow the schema, and not the rule."""

    def with_body(**changed: Any) -> dict[str, Any]:
        return {**PARTS, "body": {**BODY, **changed}}

    def with_items(data: bytes) -> dict[str, Any]:
        return {**PARTS, "items": {**PARTS["items"], "hex": data.hex()}}

    return {
        "another count": with_body(count=4),
        "another root": with_body(root=ids.format_digest(root_of(TICKS[::-1]))),
        "a root that is no digest": with_body(root="root"),
        "no items by its count": with_body(count=0),
        "an end before its begin": with_body(**{"from": ENDED, "to": BEGUN}),
        "a day for its time": with_body(to="2026-08-01"),
        "a kind with a space": with_body(kind="node ticks"),
        "a field unknown": with_body(node="n1"),
        "items out of order": with_items(spell(TICKS[::-1])),
        "one item more": with_items(spell([*TICKS, b"more"])),
        "items cut": with_items(spell(TICKS)[:-1]),
        "a byte behind its items": with_items(spell(TICKS) + b"\x00"),
        "no items": {"body": BODY},
    }


def _proof(item: bytes, place: int, path: list[bytes], **changed: Any) -> Case:
    return {
        "item": show(item),
        "place": place,
        "count": len(TICKS),
        "root": root_of(TICKS).hex(),
        "proof": [each.hex() for each in path],
        **changed,
    }


def cases() -> list[Case]:
    shown = [show(item) for item in TICKS]
    last = [root_of(TICKS[:4])]
    return [
        accept("items as bytes", "format_items", {"items": shown}, spell(TICKS).hex()),
        accept("one item, empty", "format_items", {"items": [show(b"")]}, "0000"),
        accept("root of five items", "root_of_items", {"items": shown}, root_of(TICKS).hex()),
        accept("root of one item", "root_of_items", {"items": shown[:1]}, leaf(TICKS[0]).hex()),
        accept("item in its place", "check_item", _proof(TICKS[2], 2, PATH_OF_2)),
        accept("last item, alone on its side", "check_item", _proof(TICKS[4], 4, last)),
        refuse("another item", "check_item", _proof(TICKS[3], 2, PATH_OF_2), "bad-proof"),
        refuse("another place", "check_item", _proof(TICKS[2], 3, PATH_OF_2), "bad-proof"),
        refuse(
            "place beyond the last",
            "check_item",
            _proof(TICKS[4], 5, last),
            "bad-proof",
        ),
        refuse("another count", "check_item", _proof(TICKS[2], 2, PATH_OF_2, count=4), "bad-proof"),
        refuse("a proof too short", "check_item", _proof(TICKS[2], 2, PATH_OF_2[:2]), "bad-proof"),
        refuse("items cut", "parse_items", {"data": {"hex": "000361"}}),
        refuse(
            "more items than there may be",
            "parse_items",
            {"data": {"hex": "0000", "repeat": 65_537}},
            "too-large",
        ),
        accept("items of bytes", "parse_items", {"data": {"hex": "0001ff0000"}}, ["ff", ""]),
    ]
