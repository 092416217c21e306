"""What the checks across segments need of the records inside them."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger_core.formats.archive import Frame
from ledger_core.formats.record import Record
from ledger_core.policy.streams import counter_of
from ledger_core.records.model import RecordType
from ledger_core.records.types.equivocation import Equivocation
from verifier.buckets import Spread
from verifier.governance import Decree, Stamps
from verifier.parts import Kind, Named, Shown
from verifier.repeats import spread
from verifier.streams import WITHHELD, Counted, count


def _new_array() -> array[int]:
    return array("q")


@dataclass
class Totals:
    """Types and parts to count (13), ids to compare (9), authors and governance to judge (10)."""

    watched: frozenset[int] = frozenset()
    """Entries that changes name, as the register has it."""
    by_type: Counter[str] = field(default_factory=Counter)
    present: int = 0
    withheld: int = 0
    redacted: int = 0
    mismatched: int = 0
    entries_withheld: int = 0
    authors: dict[tuple[str, str], array[int]] = field(
        default_factory=lambda: defaultdict(_new_array)
    )
    parties: dict[str, array[int]] = field(default_factory=lambda: defaultdict(_new_array))
    decrees: list[Decree] = field(default_factory=list)
    named: dict[int, Named | None] = field(default_factory=dict)
    """Of the entries watched, what is to be known of them; None of one that is not shown."""
    lowest: dict[Kind, int] = field(default_factory=dict)
    absent: dict[Kind, array[int]] = field(default_factory=lambda: defaultdict(_new_array))
    ids: Spread = ()
    """All ids, once frozen."""
    counted: Counted = field(default_factory=Counted)
    """All counters of streams, once frozen."""
    _counters: dict[int, bytes] = field(default_factory=dict)
    _ids: list[str] = field(default_factory=list)
    _indexes: array[int] = field(default_factory=_new_array)

    def add_record(self, index: int, record: Record) -> None:
        """Count a record that is well-formed."""
        self.by_type[record.type] += 1
        self._ids.append(record.id)
        self._indexes.append(index)

    def add_standing(self, index: int, kind: RecordType, record: Record) -> None:
        """Note who wrote a record of a known type, whom it names, and how it is numbered."""
        self.authors[record.author, record.type].append(index)
        for party in record.parties:
            self.parties[party].append(index)
        counter = counter_of(kind, record)
        if counter is not None:
            self._counters[index] = counter

    def add_frames(self, parts: Mapping[str, Frame]) -> None:
        """Count the frames of an entry."""
        shown = sum(frame.part is not None for frame in parts.values())
        redacted = sum(frame.is_redacted for frame in parts.values())
        self.present += shown
        self.redacted += redacted
        self.withheld += len(parts) - shown - redacted

    def add_parts(
        self, index: int, kind: RecordType, record: Record, parts: Mapping[str, Frame]
    ) -> None:
        """Note how each part of an entry is shown, to be judged when all changes are known."""
        if index in self.watched:
            how = {name: _show(parts.get(name)) for name in record.payload}
            self.named[index] = Named(record.type, record.author, how)
        elif not kind.is_governance:
            for name in record.payload:
                of = (record.type, name)
                if name not in parts:
                    self.absent[of].append(index)
                elif of not in self.lowest:
                    self.lowest[of] = index

    def withhold(self, index: int) -> None:
        """Count an entry that is not shown; nobody knows its counter."""
        self.entries_withheld += 1
        if index in self.watched:
            self.named[index] = None
        self._counters[index] = WITHHELD

    def freeze(self, spreader: int, stamps: Stamps | None, *, is_context: bool = False) -> None:
        """Become what the whole takes, which can be pickled; nothing is added after this."""
        self.authors, self.parties = dict(self.authors), dict(self.parties)
        self.absent = dict(self.absent)
        self.ids = spread(self._ids, self._indexes, spreader)
        self._ids, self._indexes = [], _new_array()
        if stamps is not None:
            evidence = [index for index, _ in self.evidence()]
            self.counted = count(self._counters, stamps, evidence, spreader, is_context=is_context)
        self._counters = {}

    def evidence(self) -> list[tuple[int, Equivocation]]:
        """Return what says that a counter was given twice, each with its index."""
        bodies = ((each.index, each.payload.get("body")) for each in self.decrees)
        return [
            (index, body)
            for index, body in bodies
            if isinstance(body, Equivocation) and body.kind == "stream"
        ]


def _show(frame: Frame | None) -> Shown:
    if frame is None:
        return "absent"
    if frame.part is not None:
        return "present"
    return "redacted" if frame.is_redacted else "withheld"
