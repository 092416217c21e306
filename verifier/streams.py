"""Finds numbers that an author gave twice, and whether the evidence stands behind them (check 16).

As with ids, all counters are too many to hold: their digests, keyed with a secret, go through
buckets on disk, each with the leaf hash of its entry. Evidence goes the same way, under the
counter of the entry right before it, which is the one it must be about.

Of entries that are not shown nobody knows the counters. So the first entry of a counter that *is*
shown may have evidence behind it that names an earlier one; this is taken for what the others
must name, and counted as not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from struct import Struct
from typing import Final

from ledger_core import ids
from ledger_core.merkle.tree import HASH_BYTES
from ledger_core.policy.streams import evidence_of
from ledger_core.records.types.equivocation import EQUIVOCATION_1, Equivocation
from verifier.buckets import BUCKETS, Buckets, Spread
from verifier.findings import Finding, Likely, finding_of
from verifier.governance import Stamps

_DIGEST_BYTES: Final = 16
_ITEM: Final = Struct(f">{_DIGEST_BYTES}sQB{HASH_BYTES}s")
"""A counter's digest, the index of an entry that has it, what is told of it, and a leaf hash."""

_SHOWN, _CONTEXT, _EVIDENCE = range(3)
"""The hash is the entry's own; of one from before the range; that of the first, by evidence."""

WITHHELD: Final = b""
"""In place of the counter of an entry that is not shown."""

Item = tuple[bytes, int, int, bytes]


@dataclass(frozen=True)
class Counted:
    """The counters of one stretch of entries, as a worker hands them over.

    ``before``: by index of some evidence, the digest for the entry before it; ``last``: that for
    the last entry. None stands for an entry without a counter.
    """

    items: Spread = ()
    before: Mapping[int, bytes | None] = field(default_factory=dict)
    last: bytes | None = WITHHELD


def count(
    counters: Mapping[int, bytes],
    stamps: Stamps,
    evidence: Iterable[int],
    spreader: int,
    *,
    is_context: bool = False,
) -> Counted:
    """Digest and spread the counters of a stretch of entries, given by index."""
    key = spreader.to_bytes(_DIGEST_BYTES)
    digests = {
        index: counter and blake2b(counter, digest_size=_DIGEST_BYTES, key=key).digest()
        for index, counter in counters.items()
    }
    items: list[Item] = []
    for index, digest in digests.items():
        if digest != WITHHELD:
            told = _CONTEXT if is_context else _SHOWN
            items.append((digest, index, told, stamps.leaf_hash(index)))
    before = {index: digests.get(index - 1) for index in evidence if index > stamps.start}
    return Counted(_spread(items), before, digests.get(stamps.start + len(stamps.times) - 1))


def _spread(items: Iterable[Item]) -> Spread:
    buckets: list[list[bytes]] = [[] for _ in range(BUCKETS)]
    for item in items:
        buckets[item[0][0]].append(_ITEM.pack(*item))
    return [b"".join(each) for each in buckets] if any(buckets) else ()


class Streams(Buckets):
    """Every counter of the log so far, and all evidence that one was given twice."""

    def __init__(self) -> None:
        super().__init__()
        self.has_counters = False
        self.not_judged = 0
        """Evidence that names an entry which is not shown."""
        self._is_partial = False
        self._last: tuple[int, bytes | None] = (-1, None)
        """The last entry's index, and the digest of its counter."""

    def allow_gaps(self) -> None:
        """Say that entries are not shown, which may have had a counter first."""
        self._is_partial = True

    def take(
        self, last: int, counted: Counted, found: Iterable[tuple[int, Equivocation, bytes]]
    ) -> list[Finding]:
        """Take the entries up to ``last``; ``found``: evidence, each with the leaf hash before."""
        self.has_counters = self.has_counters or bool(counted.items)
        self.add(counted.items)
        items: list[Item] = []
        findings: list[Finding] = []
        for index, body, previous in found:
            digest = self._before(index, counted)
            if body.second != ids.format_digest(previous):
                said = f"{body.second}, not the entry before"
                findings.append(_strange_evidence(index, said))
            elif digest is None:
                said = "the entry before has no number"
                findings.append(_strange_evidence(index, said))
            elif digest == WITHHELD:
                self.not_judged += 1
            else:
                items.append((digest, index - 1, _EVIDENCE, ids.parse_digest(body.first)))
        self.add(_spread(items))
        self._last = (last, counted.last)
        return findings

    def _before(self, index: int, counted: Counted) -> bytes | None:
        if index in counted.before:
            return counted.before[index]
        at, digest = self._last
        return digest if at == index - 1 else WITHHELD

    def findings(self, end: int) -> Iterator[Finding]:
        """Yield what is wrong in a range that ends at ``end``; ends the collecting."""
        for bucket in self.read():
            first: dict[bytes, Item] = {}
            several: dict[bytes, list[Item]] = {}
            for item in _ITEM.iter_unpack(bucket):
                earlier = first.setdefault(item[0], item)
                if earlier is not item:
                    several.setdefault(item[0], [earlier]).append(item)
            for group in several.values():
                yield from self._judge(sorted(group), end)

    def _judge(self, group: list[Item], end: int) -> Iterator[Finding]:
        """Compare the evidence about one counter with the entries that have it, in order."""
        named = {index: hash_ for _, index, told, hash_ in group if told == _EVIDENCE}
        entries = [item for item in group if item[2] != _EVIDENCE]
        _, origin, told, first = entries[0]
        expected: bytes | None = first
        if self._is_partial and (origin in named or told == _CONTEXT):
            expected = named.get(origin)
            self.not_judged += 1
        elif origin in named:
            yield _strange_evidence(origin + 1, "the entry before is the first")
        for _, index, told, second in entries[1:]:
            found = named.get(index)
            expected = expected or found
            must_be_shown = told == _SHOWN and index + 1 < end
            if must_be_shown if found is None else found != expected:
                yield _missing_evidence(index + 1, evidence_of(expected or first, second))


def _missing_evidence(index: int, due: Equivocation) -> Finding:
    """16: behind an entry whose counter another had first there is the evidence of it."""
    return finding_of(
        16, EQUIVOCATION_1.name, due, "another entry, or other evidence", Likely.STATUS, index=index
    )


def _strange_evidence(index: int, found: str) -> Finding:
    """16: evidence about a counter is about the entry before it, which was not the first."""
    expected = "evidence about the entry before"
    return finding_of(16, EQUIVOCATION_1.name, expected, found, Likely.STATUS, index=index)
