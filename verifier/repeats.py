"""Finds records with the same id without holding all ids (check 9).

Ids are spread over 256 buckets by a secret multiplier, so that nobody can aim many at one. A small
bucket is in memory, a larger one in a temporary file; at the end one bucket at a time is sorted
out. Memory at its peak: 16 MiB, or one 256th of all ids, whichever is more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Final

from verifier import checks
from verifier.findings import Finding, Refuted
from verifier.totals import ID_BYTES, INDEX_BYTES

SPILL_BYTES: Final = 64 * 1024
_ITEM_BYTES: Final = ID_BYTES + INDEX_BYTES


class Repeats:
    """Collects ids with their indexes; tells which came twice."""

    def __init__(self) -> None:
        self._closing = ExitStack()
        self._buckets: dict[int, tempfile.SpooledTemporaryFile[bytes]] = {}

    def __enter__(self) -> Repeats:
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.close()

    def add(self, buckets: Mapping[int, bytes | bytearray]) -> None:
        """Take ids, each before its index, by bucket."""
        for number, items in buckets.items():
            if number not in self._buckets:
                file = tempfile.SpooledTemporaryFile(SPILL_BYTES)  # noqa: SIM115
                self._buckets[number] = self._closing.enter_context(file)
            self._buckets[number].write(items)

    def findings(self) -> Iterator[Finding]:
        """Yield one finding for each record whose id an earlier one has."""
        for number in sorted(self._buckets):
            self._buckets[number].seek(0)
            items = self._buckets[number].read()
            first: dict[bytes, int] = {}
            for at in range(0, len(items), _ITEM_BYTES):
                record_id = items[at : at + ID_BYTES]
                index = int.from_bytes(items[at + ID_BYTES : at + _ITEM_BYTES])
                try:
                    checks.check_id(index, record_id, first.get(record_id))
                except Refuted as refuted:
                    yield refuted.finding
                else:
                    first[record_id] = index
