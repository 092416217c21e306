"""What the checks across segments need of the records inside them."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field

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

    spreader: int
    """A secret odd number; multiplied with it, ids fall into buckets that nobody can aim at."""
    by_type: Counter[str] = field(default_factory=Counter)
    present: int = 0
    withheld: int = 0
    authors: dict[tuple[str, str], array[int]] = field(
        default_factory=lambda: defaultdict(_new_array)
    )
    decrees: list[Decree] = field(default_factory=list)
    buckets: dict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    """Ids, each before its index (uint64), by bucket: 0 to 255."""

    def add_record(self, index: int, record: Record) -> None:
        """Count a record that is well-formed."""
        self.by_type[record.type] += 1
        raw = bytes.fromhex(record.id.replace("-", ""))
        bucket = int.from_bytes(raw) * self.spreader >> 120 & 0xFF
        self.buckets[bucket] += raw + index.to_bytes(INDEX_BYTES)

    def add_frames(self, frames: list[Frame]) -> None:
        present = sum(frame.part is not None for frame in frames)
        self.present += present
        self.withheld += len(frames) - present

    def freeze(self) -> None:
        """Become picklable."""
        self.authors, self.buckets = dict(self.authors), dict(self.buckets)
