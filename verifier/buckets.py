"""Sorts out what may be as many as the entries, without holding it all.

Items are spread over 256 buckets by a secret, so that nobody can aim many at one. From time to
time the buckets are written to a temporary file, one after the other: a run. At the end one
bucket at a time is read from all runs. Memory at its peak: one run, or one 256th of all items,
whichever is more.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from types import TracebackType
from typing import Final, Self

BUCKETS: Final = 256
RUN_BYTES: Final = 1024 * 1024

Spread = Sequence[bytes]
"""Items by bucket, end to end."""


class Buckets:
    """Collects items; gives them back bucket by bucket."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(RUN_BYTES)  # noqa: SIM115
        self._runs: list[array[int]] = []
        """Where in the file each bucket of a run begins, and the last one ends."""
        self._waiting: list[Spread] = []
        self._waiting_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, items: Spread) -> None:
        """Take what a stretch of entries has, if anything."""
        if not items:
            return
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

    def read(self) -> Iterator[bytes]:
        """Yield each bucket whole; ends the collecting."""
        self._write_run()
        for bucket in range(BUCKETS):
            yield b"".join(self._pieces(bucket))

    def _pieces(self, bucket: int) -> Iterator[bytes]:
        for places in self._runs:
            start, end = places[bucket : bucket + 2]
            self._file.seek(start)
            yield self._file.read(end - start)
