"""Finds records with the same id without holding all ids (check 9).

Ids are spread over 256 buckets by a secret multiplier, so that nobody can aim many at one. From
time to time the buckets are written to a temporary file, one after the other: a run. At the end
one bucket at a time is read from all runs and sorted out. Memory at its peak: one run, or one
256th of all ids, whichever is more.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from struct import Struct
from types import TracebackType
from typing import Final

from verifier import checks
from verifier.findings import Finding

BUCKETS: Final = 256
RUN_BYTES: Final = 1024 * 1024

_ID: Final = Struct("16s")
_ITEM: Final = Struct(">16sQ")
"""An id and the index of its entry."""

Spread = Sequence[bytes]
"""Items by bucket."""


def spread(ids: Sequence[str], indexes: Iterable[int], spreader: int) -> Spread:
    """Spread well-formed ids, each with its index, by a secret odd number of 128 bits."""
    buckets: list[list[bytes]] = [[] for _ in range(BUCKETS)]
    raw = bytes.fromhex("".join(ids).replace("-", ""))
    for (record_id,), index in zip(_ID.iter_unpack(raw), indexes, strict=True):
        bucket = int.from_bytes(record_id) * spreader >> 120 & 0xFF
        buckets[bucket].append(_ITEM.pack(record_id, index))
    return [b"".join(items) for items in buckets]


class Repeats:
    """Collects ids with their indexes; tells which came twice."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(RUN_BYTES)  # noqa: SIM115
        self._runs: list[array[int]] = []
        """Where in the file each bucket of a run begins, and the last one ends."""
        self._waiting: list[Spread] = []
        self._waiting_bytes = 0

    def __enter__(self) -> Repeats:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, items: Spread) -> None:
        """Take the ids of a stretch of entries."""
        self._waiting.append(items)
        self._waiting_bytes += sum(map(len, items))
        if self._waiting_bytes >= RUN_BYTES:
            self._write_run()

    def _write_run(self) -> None:
        if not self._waiting:
            return
        buckets = [b"".join(pieces) for pieces in zip(*self._waiting, strict=True)]
        self._runs.append(array("Q", accumulate(map(len, buckets), initial=self._file.tell())))
        self._file.writelines(buckets)
        self._waiting, self._waiting_bytes = [], 0

    def findings(self) -> Iterator[Finding]:
        """Yield one finding for each record whose id an earlier one has; ends the collecting."""
        self._write_run()
        for bucket in range(BUCKETS):
            first: dict[bytes, int] = {}
            for record_id, index in _ITEM.iter_unpack(self._read(bucket)):
                if record_id in first:
                    yield checks.repeated_id(index, record_id, first[record_id])
                else:
                    first[record_id] = index

    def _read(self, bucket: int) -> bytes:
        pieces = []
        for places in self._runs:
            start, end = places[bucket : bucket + 2]
            self._file.seek(start)
            pieces.append(self._file.read(end - start))
        return b"".join(pieces)
