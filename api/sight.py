"""A ledger as one reader sees it: what is hidden from the reader is not there.

Every route that shows entries, or says anything of a single one, asks here and nowhere else.
What is hidden is answered as what does not exist: :class:`NotFoundError`, in the same words.
Who sees what is decided in ``ledger_core/policy/visibility.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ledger_core import ids
from ledger_core.errors import NotFoundError
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import parse_record
from ledger_core.ledger import Ledger
from ledger_core.merkle.tiles import TILE_WIDTH
from ledger_core.policy.proposals import Proposal, awaits
from ledger_core.policy.states import State
from ledger_core.policy.visibility import Reader, Standpoint, read_subject
from ledger_core.prover import InclusionProof
from ledger_core.records.registry import find_type
from ledger_core.records.types.outcome import Verdict
from ledger_core.storage.search import EntryQuery, Page
from ledger_core.storage.store import StoredEntry

_AT_ONCE = 500

Status = Literal["present", "withheld", "redacted", "erased", "missing"]


@dataclass(frozen=True)
class PartStatus:
    """How a payload part stands for a reader.

    ``withheld``: not for this reader. ``redacted``, ``erased``: by the change ``by`` (a leaf hash;
    None: an order of the schedule), in effect from ``at`` on. ``missing``: gone without an order.
    """

    status: Status
    at: int | None = None
    by: bytes | None = None


PartsByIndex = dict[int, dict[str, PartStatus]]


class Sight:
    """One ledger and one reader of it; blocking."""

    def __init__(self, ledger: Ledger, reader: Reader) -> None:
        self.ledger = ledger
        self.reader = reader

    # --- entries -----------------------------------------------------------------

    def pick(self, entries: Sequence[StoredEntry]) -> list[StoredEntry]:
        """Return those of the entries that the reader sees."""
        if self.reader.is_operator or not entries:
            return list(entries)
        # Taken after the entries were read, so it is of their indexes or a later one.
        here = self._standpoint()
        if here.sees_every_entry:
            return list(entries)
        return [each for each in entries if here.sees(read_subject(each.index, each.leaf))]

    def _standpoint(self) -> Standpoint:
        return Standpoint(self.reader, self.ledger.constitution())

    def entry(self, index: int) -> StoredEntry:
        """Return an entry with its payload, whoever that is for."""
        return self._only(index, self.ledger.entries([index]))

    def _only(self, index: int, entries: Sequence[StoredEntry]) -> StoredEntry:
        for entry in self.pick(entries):
            return entry
        raise NotFoundError(f"no entry {index}")

    def entry_head(self, index: int) -> StoredEntry:
        """Return an entry without its payload."""
        return self._only(index, self.ledger.entries([index], with_payload=False))

    def check_sees(self, index: int) -> None:
        """Raise :class:`NotFoundError` unless there is such an entry for this reader."""
        self.entry_head(index)

    def entries(self, indexes: Sequence[int] | range) -> list[StoredEntry]:
        """Return those of the named entries that exist for this reader, without payload."""
        if not indexes:
            return []
        return self.pick(self.ledger.entries(indexes, with_payload=False))

    def find(self, leaf_hashes: Collection[bytes]) -> dict[bytes, int]:
        """Return the indexes of those of the named entries that exist for this reader."""
        if not leaf_hashes:
            return {}
        indexes = self.ledger.states.indexes_of(leaf_hashes)
        shown = {entry.index for entry in self.entries(sorted(indexes.values()))}
        return {leaf_hash: index for leaf_hash, index in indexes.items() if index in shown}

    def parts(self, entries: Sequence[StoredEntry], states: Mapping[int, State]) -> PartsByIndex:
        """Return, by index, how each part of these entries' payloads stands for the reader.

        At the index that the states are of; what is not for the reader now is not shown either.
        """
        here = self._standpoint()
        there = self.ledger.states.part_names([entry.index for entry in entries])
        return {
            entry.index: dict(
                _part_statuses(here, entry, states[entry.index], there.get(entry.index, ()))
            )
            for entry in entries
        }

    def search(self, query: EntryQuery) -> Page:
        """Find entries; what is redacted or erased finds nothing, from the very next search on.

        The views know who saw a payload when it was appended, not what was hidden since.
        """
        query = replace(query, reader=self.reader)
        if not query.columns:
            return self.ledger.search(query)

        def search(after: int | None) -> Page:
            return self.ledger.search(replace(query, after=after, limit=query.limit + 1))

        return self._fill_page(search, query.after, query.limit)

    def about(self, subject: str, *, after: int | None, limit: int) -> Page:
        """Find the entries about a subject whose payload the reader sees, as it stands now."""

        def search(after: int | None) -> Page:
            return self.ledger.search_subject(subject, self.reader, after=after, limit=limit + 1)

        return self._fill_page(search, after, limit)

    def changes(
        self, kind: str | None, target: int | None, *, after: int | None, limit: int
    ) -> Page:
        """Find changes of entries: of one that the reader sees, if ``target`` names it."""
        named = None if target is None else self.entry_head(target).leaf_hash
        return self.ledger.search_changes(kind, named, self.reader, after=after, limit=limit)

    def _fill_page(
        self, search: Callable[[int | None], Page], after: int | None, limit: int
    ) -> Page:
        """Search on, an item beyond the page, until it is full of what the reader sees now."""
        found: list[int] = []
        while True:
            page = search(after)
            found += self._pick_by_payload(page.indexes)
            after = page.next
            if after is None or len(found) > limit:
                break
        shown = found[:limit]
        return Page(shown, shown[-1] if len(found) > limit else None, page.size)

    def _pick_by_payload(self, indexes: Sequence[int]) -> list[int]:
        """Leave out entries of which the reader does not see what the views were made of."""
        entries = self.ledger.entries(indexes, with_payload=False)
        states = self.ledger.states.of(entries)
        if not any(state.veils or state.erased for state in states.values()):
            return list(indexes)
        here, shown = self._standpoint(), set[int]()
        for entry in entries:
            state, subject = states[entry.index], read_subject(entry.index, entry.leaf)
            if all(
                part not in state.erased and here.sees_part(subject, part, state.veils.get(part))
                for part in find_type(subject.type).viewed_parts
            ):
                shown.add(entry.index)
        return [index for index in indexes if index in shown]

    def index_of(self, record_id: str) -> int:
        index = self.ledger.index_of(record_id)
        self.check_sees(index)
        return index

    # --- proofs ------------------------------------------------------------------

    def receipt(self, index: int, size: int | None = None) -> bytes:
        self.check_sees(index)
        return self.ledger.receipt(index, size)

    def prove_inclusion(self, index: int, size: int) -> InclusionProof:
        self.check_sees(index)
        return self.ledger.prove_inclusion(index, size)

    def bundle(self, position: int, width: int) -> bytes:
        """Return an entry bundle, if the reader sees every entry in it."""
        bundle = self.ledger.bundle(position, width)
        if not self._standpoint().sees_every_entry:
            start = position * TILE_WIDTH
            found = self.ledger.entries(range(start, start + width), with_payload=False)
            if len(self.pick(found)) < width:
                raise NotFoundError("the log has not grown that far")
        return bundle

    # --- proposals ---------------------------------------------------------------

    def proposal(self, leaf_hash: bytes) -> Proposal:
        found = self.ledger.proposal(leaf_hash)
        if not self._pick_proposals([found]):
            raise NotFoundError(f"{ids.format_digest(leaf_hash)} is no proposal of this ledger")
        return found

    def proposals(self, verdict: Verdict | None, *, after: int, limit: int) -> list[Proposal]:
        """Return proposals that ended so, or are open (None), in order of index."""
        found: list[Proposal] = []
        for page in self._pages(verdict, after, _AT_ONCE if self._may_be_blind() else limit):
            found += page
            if len(found) >= limit:
                break
        return found[:limit]

    def pending(self, member: str, *, after: int, limit: int) -> list[Proposal]:
        """Return open proposals that wait for a member's word."""
        constitution = self.ledger.constitution()
        found: list[Proposal] = []
        for page in self._pages(None, after, _AT_ONCE):
            found += [each for each in page if awaits(constitution, each, member)]
            if len(found) >= limit:
                break
        return found[:limit]

    def count_proposals(self) -> dict[str | None, int]:
        """Count the proposals that the reader sees by how they ended; None: still open."""
        if not self._may_be_blind():
            return self.ledger.count_proposals()
        verdicts: tuple[Verdict | None, ...] = (
            None, "confirmed", "rejected", "withdrawn", "expired",
        )  # fmt: skip
        counts = Counter[str | None]()
        for verdict in verdicts:
            counts[verdict] = sum(len(page) for page in self._pages(verdict, -1, _AT_ONCE))
        return dict(counts)

    def _may_be_blind(self) -> bool:
        return not self._standpoint().sees_every_entry

    def _pages(self, verdict: Verdict | None, after: int, size: int) -> Iterator[list[Proposal]]:
        """Yield the proposals behind ``after`` in that state, those that the reader sees."""
        while True:
            page = self.ledger.proposals(verdict, after=after, limit=size)
            yield self._pick_proposals(page)
            if len(page) < size:
                return
            after = page[-1].index

    def _pick_proposals(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        shown = {entry.index for entry in self.entries([each.index for each in proposals])}
        return [each for each in proposals if each.index in shown]


def _part_statuses(
    here: Standpoint, entry: StoredEntry, state: State, there: Collection[str]
) -> Iterator[tuple[str, PartStatus]]:
    subject = read_subject(entry.index, entry.leaf)
    for name in sorted(parse_record(parse_entry(entry.leaf).record).payload):
        erased, veil = state.erased.get(name), state.veils.get(name)
        if erased is not None:
            yield name, PartStatus("erased", erased.at, erased.by)
        elif not here.sees_part(subject, name):
            yield name, PartStatus("withheld")
        elif veil is not None and not here.sees_part(subject, name, veil):
            yield name, PartStatus("redacted", veil.at, veil.by)
        else:
            yield name, PartStatus("present" if name in there else "missing")
