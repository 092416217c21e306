"""What the checks across segments need of the records inside them."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from ledger_core.formats.record import Record
from verifier.governance import Decree
from verifier.repeats import Spread, spread


def _new_array() -> array[int]:
    return array("q")


@dataclass
class Totals:
    """Types and parts to count (13), ids to compare (9), authors and governance to judge (10)."""

    by_type: Counter[str] = field(default_factory=Counter)
    present: int = 0
    withheld: int = 0
    entries_withheld: int = 0
    authors: dict[tuple[str, str], array[int]] = field(
        default_factory=lambda: defaultdict(_new_array)
    )
    decrees: list[Decree] = field(default_factory=list)
    ids: Spread = ()
    """All ids, once frozen."""
    _ids: list[str] = field(default_factory=list)
    _indexes: array[int] = field(default_factory=_new_array)

    def add_record(self, index: int, record: Record) -> None:
        """Count a record that is well-formed."""
        self.by_type[record.type] += 1
        self._ids.append(record.id)
        self._indexes.append(index)

    def freeze(self, spreader: int) -> None:
        """Become what the whole takes, which can be pickled; nothing is added after this."""
        self.authors = dict(self.authors)
        self.ids = spread(self._ids, self._indexes, spreader)
        self._ids, self._indexes = [], _new_array()
