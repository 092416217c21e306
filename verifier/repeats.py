"""Finds records with the same id without holding all ids (check 9)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final

from verifier import entry_checks
from verifier.buckets import BUCKETS, Buckets, Spread
from verifier.findings import Finding

_ID: Final = Struct("16s")
_ITEM: Final = Struct(">16sQ")
"""An id and the index of its entry."""


def spread(ids: Sequence[str], indexes: Iterable[int], spreader: int) -> Spread:
    """Spread well-formed ids, each with its index, by a secret odd number of 128 bits."""
    buckets: list[list[bytes]] = [[] for _ in range(BUCKETS)]
    raw = bytes.fromhex("".join(ids).replace("-", ""))
    for (record_id,), index in zip(_ID.iter_unpack(raw), indexes, strict=True):
        bucket = int.from_bytes(record_id) * spreader >> 120 & 0xFF
        buckets[bucket].append(_ITEM.pack(record_id, index))
    return [b"".join(items) for items in buckets]


class Repeats(Buckets):
    """Collects ids with their indexes; tells which came twice."""

    def findings(self) -> Iterator[Finding]:
        """Yield one finding for each record whose id an earlier one has; ends the collecting."""
        for bucket in self.read():
            first: dict[bytes, int] = {}
            for record_id, index in _ITEM.iter_unpack(bucket):
                if record_id in first:
                    yield entry_checks.repeated_id(index, record_id, first[record_id])
                else:
                    first[record_id] = index
