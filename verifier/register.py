"""Reads the mutation register, first for where to look, then to compare it (check 18).

Changes name entries by leaf hash; what wrote those entries has to be known to judge the changes.
Nobody holds all leaf hashes, so the register's word is taken for where those entries lie. It
cannot mislead: a target that is not where the register says makes the register wrong.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import BinaryIO, cast

import msgspec

from ledger_core import limits
from ledger_core.errors import TooLargeError
from ledger_core.formats import archive
from ledger_core.formats.archive import File
from ledger_core.formats.mutations import Mutation, format_mutation, read_mutations
from verifier.findings import Finding, Likely, finding_of
from verifier.reading import Source, reading


class Expected:
    """A line as the entries have it. What could not be judged is not held against the register."""

    def __init__(self, line: Mutation, *, is_judged: bool) -> None:
        self.line, self._is_judged = line, is_judged

    def agrees(self, other: Mutation) -> bool:
        mine = self.line
        if not self._is_judged:
            unknown = {"status": mine.status, "since": mine.since, "agreed": mine.agreed}
            if mine.target is None:
                unknown["target"] = None
            other = msgspec.structs.replace(other, **unknown)
        return mine == other


class Register:
    """The register of one archive; ``file`` None: it has none, and claims that nothing changed."""

    def __init__(self, source: Source, file: File | None) -> None:
        if file is not None and file.size > limits.ARCHIVE_REGISTER_BYTES:
            raise TooLargeError(f"{file.name} is larger than {limits.ARCHIVE_REGISTER_BYTES} bytes")
        self._source, self._file = source, file
        targets = {line.target for line in self._lines() if line.target is not None}
        self._targets = array("Q", sorted(targets))

    def _lines(self) -> Iterator[Mutation]:
        if self._file is not None:
            with reading(self._source, self._file) as stream:
                yield from read_mutations(cast(BinaryIO, stream))

    @property
    def is_there(self) -> bool:
        return self._file is not None

    def targets(self, start: int, end: int) -> frozenset[int]:
        """Return the indexes in ``[start, end)`` of entries that changes name."""
        first, last = (bisect_left(self._targets, index) for index in (start, end))
        return frozenset(self._targets[first:last])

    def compare(self, expected: Iterable[Expected]) -> Iterator[Finding]:
        """Yield the first difference between what the entries say and what the register says."""
        for wanted, line in zip_longest(expected, self._lines()):
            if wanted is None or line is None or not wanted.agrees(line):
                yield _difference(wanted, line)
                return


def _difference(wanted: Expected | None, line: Mutation | None) -> Finding:
    expected = "no line" if wanted is None else _show(wanted.line)
    found = "no line" if line is None else _show(line)
    index = wanted.line.index if wanted is not None else None
    return finding_of(18, archive.REGISTER, expected, found, Likely.CLAIM, index=index)


def _show(line: Mutation) -> str:
    return format_mutation(line).decode("ascii").strip()
