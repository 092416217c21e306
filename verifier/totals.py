"""What the checks across segments need of the records inside them."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b

from ledger_core.formats.archive import Frame
from ledger_core.formats.record import Record
from verifier.governance import Decree

INDEX_BYTES = 8
ID_BYTES = 16


def _new_array() -> array[int]:
    return array("q")


@dataclass
class Totals:
    """Types and parts to count (13), ids to compare (9), authors and governance to judge (10)."""

    salt: bytes
    """Keys the hash that spreads ids over buckets, so that nobody can fill one on purpose."""
    by_type: Counter[str] = field(default_factory=Counter)
    present: int = 0
    withheld: int = 0
    authors: dict[tuple[str, str], array[int]] = field(
        default_factory=lambda: defaultdict(_new_array)
    )
    decrees: list[Decree] = field(default_factory=list)
    buckets: dict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    """Ids, each before its index (uint64), by a keyed hash of the id."""

    def add_record(self, index: int, record: Record) -> None:
        """Count a record that is well-formed."""
        self.by_type[record.type] += 1
        self.authors[record.author, record.type].append(index)
        raw = bytes.fromhex(record.id.replace("-", ""))
        bucket = blake2b(raw, digest_size=1, key=self.salt).digest()[0]
        self.buckets[bucket] += raw + index.to_bytes(INDEX_BYTES)

    def add_frames(self, frames: list[Frame]) -> None:
        present = sum(frame.part is not None for frame in frames)
        self.present += present
        self.withheld += len(frames) - present

    def freeze(self) -> None:
        """Become picklable."""
        self.authors, self.buckets = dict(self.authors), dict(self.buckets)
