"""A ledger as one reader sees it: what is hidden from the reader is not there.

Every route that shows entries, or says anything of a single one, asks here and nowhere else.
What is hidden is answered as what does not exist: :class:`NotFoundError`, in the same words.
Who sees what is decided in ``ledger_core/policy/visibility.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ledger_core import ids
from ledger_core.errors import NotFoundError
from ledger_core.ledger import Ledger
from ledger_core.merkle.tiles import TILE_WIDTH
from ledger_core.policy.proposals import Proposal, awaits
from ledger_core.policy.visibility import Reader, Standpoint, read_subject
from ledger_core.prover import InclusionProof
from ledger_core.records.types.outcome import Verdict
from ledger_core.storage.store import StoredEntry
from ledger_core.storage.views import EntryQuery, Page

_AT_ONCE = 500


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

    def check_sees(self, index: int) -> None:
        """Raise :class:`NotFoundError` unless there is such an entry for this reader."""
        self._only(index, self.ledger.entries([index], with_payload=False))

    def entries(self, indexes: Sequence[int] | range) -> list[StoredEntry]:
        """Return those of the named entries that exist for this reader, without payload."""
        return self.pick(self.ledger.entries(indexes, with_payload=False))

    def shown_parts(self, entry: StoredEntry, names: Iterable[str]) -> set[str]:
        """Return those parts of an entry's payload that the reader may see."""
        here, subject = self._standpoint(), read_subject(entry.index, entry.leaf)
        return {name for name in names if here.sees_part(subject, name)}

    def search(self, query: EntryQuery) -> Page:
        return self.ledger.search(replace(query, reader=self.reader))

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
