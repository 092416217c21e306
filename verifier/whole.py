"""Joins what was found in single entries and segments into one log, in order.

Holds the tree's right edge, the keys, counts and the last entry: nothing that grows with entries.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ledger_core import ids
from ledger_core.formats import archive
from ledger_core.formats.archive import Counts, RangeProof
from ledger_core.formats.entry import NO_PREVIOUS, Header
from ledger_core.merkle import tree
from ledger_core.records.types.epoch import EPOCH_1
from verifier import entry_checks
from verifier.evidence import Evidence
from verifier.findings import Findings
from verifier.governance import Governance, Stamps
from verifier.parts import Parts
from verifier.repeats import Repeats
from verifier.segments import Outcome
from verifier.streams import Streams
from verifier.totals import Totals


@dataclass(frozen=True)
class Last:
    """The entry before: its index, leaf hash (None: not seen) and time received."""

    index: int = -1
    leaf_hash: bytes | None = None
    received_at: int = 0


class Whole:
    """The log so far."""

    def __init__(
        self,
        findings: Findings,
        repeats: Repeats,
        streams: Streams,
        parts: Parts,
        evidence: Evidence,
    ) -> None:
        self._findings, self._repeats, self._evidence = findings, repeats, evidence
        self.streams, self.parts = streams, parts
        self.governance = Governance()
        self.frontier = tree.Frontier()
        self.charter: str | None = None
        self.context = self.later = self.entries = self._present = self._withheld = 0
        self.mismatched = self._redacted = self._entries_withheld = 0
        self._by_type: Counter[str] = Counter()
        self._last = Last()
        self._is_behind = False

    def add_context(self, index: int, header: Header, stamps: Stamps, totals: Totals) -> None:
        """Take the next entry outside the range; its parts and type count in no total (13)."""
        self.context += 1
        is_later = self._is_behind
        self.later += is_later
        leaf_hash = stamps.leaf_hashes
        self._join(index, header, leaf_hash)
        self._last = Last(index, leaf_hash, header.received_at)
        self._repeats.add(totals.ids)
        governance = self.governance
        if is_later:
            governance.replay_later(totals.decrees, stamps, self._findings)
        else:
            governance.replay_context(totals.decrees, totals.authors, stamps, self._findings)
        self.governance.judge_parties(totals.parties, self._findings)
        # What evidence from before the range is about, the range does not show.
        self.streams.take(index, totals.counted, ())

    def start(self, proof: RangeProof) -> None:
        """Go on at the first entry of the range."""
        self.frontier, self._is_behind = proof.before(), True
        self.governance.begin_at(proof.start, self._findings)
        if proof.start > 0:
            self.streams.allow_gaps()

    def add_segment(self, outcome: Outcome) -> None:
        """Take the next segment."""
        task, totals = outcome.task, outcome.totals
        self._findings.merge(outcome.findings)
        if outcome.first is not None:
            self._join(task.start, outcome.first, outcome.first_leaf)
        received_at = max(self._last.received_at, outcome.last_time)
        self._last = Last(task.end - 1, outcome.last_leaf or None, received_at)
        self._repeats.add(totals.ids)
        stamps = outcome.stamps or Stamps(task.start)
        if totals.entries_withheld:
            self.governance.allow_gaps()
        if totals.entries_withheld or outcome.stamps is None:
            self.streams.allow_gaps()
        self.governance.changes.know(totals.named, stamps.leaf_hash)
        self.governance.replay(totals.decrees, totals.authors, stamps, self._findings)
        self.parts.take(totals.named, totals.lowest, totals.absent, stamps.time)
        self._check_forks(totals, stamps)
        self.governance.judge_parties(totals.parties, self._findings)
        self._take_counters(outcome, stamps)
        self._grow(outcome)
        self.entries += outcome.entries
        self._present += totals.present
        self._withheld += totals.withheld
        self._redacted += totals.redacted
        self.mismatched += totals.mismatched
        self._entries_withheld += totals.entries_withheld
        self._by_type.update(totals.by_type)

    def _check_forks(self, totals: Totals, stamps: Stamps) -> None:
        """Compute the tree that each epoch of a segment begins on (7)."""
        if self.frontier.size != stamps.start:
            return
        roots: dict[int, bytes] = {}
        for decree in totals.decrees:
            if decree.type == EPOCH_1.name:
                before = stamps.hashes()[: decree.index - stamps.start]
                roots[decree.index] = self.frontier.extend(before).root()
        self.governance.check_forks(roots, self._findings)

    def _take_counters(self, outcome: Outcome, stamps: Stamps) -> None:
        """Collect counters, and evidence about them with the leaf hash before it (16)."""
        named = outcome.first.previous if outcome.first is not None else b""
        evidence = [
            (index, body, stamps.leaf_hash(index - 1) if index > stamps.start else named)
            for index, body in outcome.totals.evidence()
        ]
        last, counted = outcome.task.end - 1, outcome.totals.counted
        for finding in self.streams.take(last, counted, evidence):
            self._findings.add(finding)

    def _join(self, index: int, header: Header, leaf_hash: bytes) -> None:
        """Check 6 at a seam; the first entry of all is the charter."""
        last, attempt = self._last, self._findings.attempt
        previous = last.leaf_hash if last.index == index - 1 else None
        if index == 0:
            previous, self.charter = NO_PREVIOUS, ids.format_digest(leaf_hash)
        attempt(entry_checks.check_link, index, header, previous)
        attempt(entry_checks.check_time, index, header.received_at, last.received_at)

    def _grow(self, outcome: Outcome) -> None:
        """Extend the tree (7); a segment that is not whole stops its growth."""
        task, after = outcome.task, self.frontier
        if not outcome.nodes or after.size != task.start:
            return
        nodes = tree.perfect_subtrees(task.start, task.end)
        for node, node_hash in zip(nodes, outcome.nodes, strict=True):
            after = after.extend([node_hash], node.level)
        self._evidence.take(self.frontier, outcome.leaves, after)
        self.frontier = after

    def judge_parts(self, size: int) -> None:
        """Judge what is there and what is not, by all changes in a tree of ``size`` (11)."""
        effects = self.governance.changes.by_index()
        for finding in self.parts.judge(effects, self.governance.constitution, size):
            self._findings.add(finding)

    def count_parts(self) -> dict[str, int]:
        """Count the range's parts by what became of them."""
        return {
            "present": self._present - self.mismatched,
            "withheld": self._withheld,
            "redacted": self._redacted,
            "erased": self.parts.erased,
            "mismatch": self.mismatched,
            "missing": self.parts.missing,
        }

    def counts(self) -> Counts:
        """Say what was found in the range, as a manifest would (13)."""
        return archive.Counts(
            entries=self.entries,
            context=self.context,
            parts_present=self._present,
            parts_withheld=self._withheld,
            by_type=dict(self._by_type),
            entries_withheld=self._entries_withheld,
            parts_redacted=self._redacted,
            parts_erased=self.parts.erased,
        )
