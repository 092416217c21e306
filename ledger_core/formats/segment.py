"""Sealed segments: many short-lived items under one root, which outlives them.

The items of a ``segment/1`` lie in one part of its payload, spelled as C2SP tlog-tiles spells
entry bundles; its body names their RFC 6962 root. ::

    0003 616263 | 0000 | 0001 ff      three items: "abc", an empty one, 0xff

Whoever keeps an item and its proof shows later that it was sealed, though all are gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger_core import limits
from ledger_core.errors import TooLargeError
from ledger_core.merkle.tiles import format_bundle, parse_bundle
from ledger_core.merkle.tree import Frontier, Growth, check_inclusion, leaf_hash, root


def format_items(items: Sequence[bytes]) -> bytes:
    """Return the part that holds these items."""
    if len(items) > limits.SEGMENT_ITEMS:
        raise TooLargeError(f"a segment has at most {limits.SEGMENT_ITEMS} items")
    for place, item in enumerate(items):
        if len(item) > limits.ENTRY_BYTES:
            raise TooLargeError(f"item {place} is longer than {limits.ENTRY_BYTES} bytes")
    return format_bundle(items)


def parse_items(data: bytes) -> Sequence[bytes]:
    """Split the part into its items; raise :class:`MalformedError`."""
    items = parse_bundle(data)
    if len(items) > limits.SEGMENT_ITEMS:
        raise TooLargeError(f"a segment has at most {limits.SEGMENT_ITEMS} items")
    return items


def root_of(items: Sequence[bytes]) -> bytes:
    """Return the RFC 6962 root over the items, each a leaf."""
    return root([leaf_hash(item) for item in items])


def prove_item(items: Sequence[bytes], place: int) -> list[bytes]:
    """Prove that one of the items is in its place under their root."""
    return Growth(Frontier(), [leaf_hash(item) for item in items]).prove_inclusion(place)


def check_item(
    item: bytes, place: int, count: int, sealed_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise :class:`ProofError` unless the segment with this count and root holds the item."""
    check_inclusion(place, count, leaf_hash(item), proof, sealed_root)
