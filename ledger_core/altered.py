"""What changes made of a range of entries, as far as an archive of the range has to show it.

A change lies behind what it changes, perhaps behind the range. Then the archive shows it for
context, with what says whether it might be made and was agreed to; and it stands under a
checkpoint that covers both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial

import msgspec

from ledger_core import clock, ids
from ledger_core.constitutions import read_acts
from ledger_core.erased import Place
from ledger_core.errors import IntegrityError
from ledger_core.formats.entry import look_into
from ledger_core.formats.mutations import Mutation
from ledger_core.formats.record import PartRef, Ref
from ledger_core.merkle.tree import leaf_hash
from ledger_core.policy.act import Act
from ledger_core.policy.changes import amended_by, named_entries
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect, Veil, retired_at
from ledger_core.policy.mutations import as_of, is_listed, list_mutations
from ledger_core.policy.proposals import Proposal, agreeing
from ledger_core.policy.visibility import Standpoint, Subject
from ledger_core.records.registry import find_type
from ledger_core.storage import assemblies, effects, store
from ledger_core.storage.database import Transaction
from ledger_core.storage.store import SealedEntry

_AT_ONCE = 1_000

# --- entries, as an exporter looks at them -----------------------------------------


class Record(msgspec.Struct, frozen=True):
    """What the exporter needs of a record. It was checked in full when it was admitted."""

    type: str
    author: str
    id: str
    made_at: str
    payload: dict[str, PartRef] = {}
    parties: tuple[str, ...] = ()
    refs: tuple[Ref, ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """An entry whose leaf hash has been checked."""

    index: int
    leaf_hash: bytes
    received_at: str
    record: Record
    payload_bytes: int

    @property
    def subject(self) -> Subject:
        record = self.record
        return Subject(self.index, record.type, record.author, record.parties)

    @property
    def place(self) -> Place:
        record, received_at = self.record, clock.parse_time(self.received_at)
        return Place(self.index, self.leaf_hash, record.type, record.author, received_at)

    @property
    def amendment(self) -> Act | None:
        """This entry as a change, if it is an amendment."""
        kind = find_type(self.record.type)
        amends = amended_by(kind, self.record.refs)
        if amends is None:
            return None
        received_at = clock.parse_time(self.received_at)
        return Act(self.index, self.leaf_hash, received_at, kind, self.record.author, {}, amends)


_RECORD = msgspec.json.Decoder(Record)


def see(entry: SealedEntry) -> Entry:
    """Look at a stored entry; raise :class:`IntegrityError` for what cannot have been appended."""
    if leaf_hash(entry.leaf) != entry.leaf_hash:
        raise IntegrityError(f"entry {entry.index} lost its leaf hash", index=entry.index)
    received_at, raw = look_into(entry.leaf)
    try:
        record = _RECORD.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"entry {entry.index}: {error}", index=entry.index) from None
    size = sum([part.size for part in record.payload.values()])
    return Entry(entry.index, entry.leaf_hash, received_at, record, size)


# --- behind the range --------------------------------------------------------------


@dataclass(frozen=True)
class Reach:
    """What reaches into a range from behind it.

    ``size``: the first that covers it all; ``later``: indexes of the entries to be shown.
    """

    size: int
    later: tuple[int, ...] = ()


def find_reach(
    tx: Transaction, ledger_id: int, scope: range, head_size: int, constitution: Constitution
) -> Reach:
    """Find what hides, erases or holds parts of a range, and took effect behind it."""
    end = scope.stop
    moved: set[tuple[int, bytes]] = set()
    for effect in _read_changed(tx, ledger_id, scope):
        moved.update(each for each in _moments(effect) if end <= each[0] < head_size)
    retired = [
        at
        for orders in constitution.retentions.values()
        for at, _ in orders
        if end <= at < head_size
    ]
    moments = {at for at, _ in moved}
    size = max((*moments, *retired), default=end - 1) + 1
    if size == end:
        return Reach(end)
    shown = moments | _proposed(tx, ledger_id, {by for _, by in moved})
    shown.update(assemblies.read_constitutional(tx, ledger_id, end, size))
    return Reach(size, tuple(sorted(index for index in shown if index >= end)))


def _read_changed(tx: Transaction, ledger_id: int, scope: range) -> Iterator[Effect]:
    start = scope.start
    while found := effects.read_changed(tx, ledger_id, start, scope.stop, _AT_ONCE):
        yield from found
        start = found[-1].index + 1


def _moments(effect: Effect) -> Iterator[tuple[int, bytes]]:
    """Yield from where, and by which change, something came to hold of an entry's parts."""
    yield from ((veil.at, veil.by) for veil in effect.veils)
    yield from ((gone.at, gone.by) for gone in effect.erasures)
    yield from ((holding.at, holding.by) for holding in effect.holdings)


def _proposed(tx: Transaction, ledger_id: int, changes: Set[bytes]) -> set[int]:
    """Return where these changes were proposed, and where the bundles they are in."""
    found = assemblies.find_proposals(tx, ledger_id, changes)
    wanted = changes | {each.bundle for each in found.values() if each.bundle is not None}
    found = assemblies.find_proposals(tx, ledger_id, wanted)
    return {each.index for each in found.values() if each.leaf_hash in wanted}


# --- what became of it -------------------------------------------------------------


@dataclass
class Altered:
    """A range as it stands in a tree of ``size``, as one reader sees it."""

    ledger_id: int
    scope: range
    size: int
    reader: Standpoint
    later: Collection[int] = ()
    _effects: Mapping[int, Effect] = field(default_factory=dict)

    def look(self, tx: Transaction, entries: Sequence[Entry]) -> None:
        """Read what holds of these entries, to be asked about next."""
        self._effects = effects.find_changed(tx, self.ledger_id, [each.index for each in entries])

    def is_erased(self, entry: Entry, part: str) -> bool:
        effect, constitution = self._effects.get(entry.index), self.reader.constitution
        if effect is not None and part in effect.erased_at(self.size):
            return True
        if (entry.record.type, part) not in constitution.retentions:
            return False
        record, received_at = entry.record, clock.parse_time(entry.received_at)
        effect = effect or Effect(entry.index, entry.leaf_hash, record.type, record.author)
        return retired_at(constitution, effect, received_at, part, self.size) is not None

    def veil(self, entry: Entry, part: str) -> Veil | None:
        """Return what hides a part, from whomever it does."""
        effect = self._effects.get(entry.index)
        return effect.veils_at(self.size).get(part) if effect is not None else None

    # --- the register ----------------------------------------------------------------

    def list_changes(self, tx: Transaction, entries: Iterable[Entry]) -> list[Mutation]:
        """Return the register's lines of the changes among these entries, which are shown."""
        entries = list(entries)
        listed = [each.index for each in entries if is_listed(each.record.type)]
        acts = [*read_acts(tx, self.ledger_id, listed)]
        acts += [act for each in entries if (act := each.amendment) is not None]
        return self._list(tx, sorted(acts, key=lambda act: act.index))

    def list_later(self, tx: Transaction) -> list[Mutation]:
        """Return those of the changes shown from behind the range."""
        acts = read_acts(tx, self.ledger_id, sorted(self.later))
        return self._list(tx, [act for act in acts if is_listed(act.kind.name)])

    def _list(self, tx: Transaction, acts: Sequence[Act]) -> list[Mutation]:
        if not acts:
            return []
        named = {leaf for act in acts for leaf in named_entries(act.kind, act.payload, act.amends)}
        places = store.find_indexes(tx, self.ledger_id, named)
        proposals = assemblies.find_proposals(tx, self.ledger_id, [act.leaf_hash for act in acts])
        bundles = {each.bundle for each in proposals.values() if each.bundle is not None}
        known = proposals | assemblies.find_proposals(tx, self.ledger_id, bundles)
        lines: list[Mutation] = []
        for act in acts:
            proposal = known.get(act.leaf_hash)
            lines += list_mutations(
                act,
                proposal and as_of(proposal, self._is_shown),
                self._agreed(proposal, known),
                partial(_find, places),
            )
        return lines

    def _agreed(self, proposal: Proposal | None, known: Mapping[bytes, Proposal]) -> int:
        """Count who agreed to a proposal, or to the bundle it is in if that is shown."""
        if proposal is None:
            return 0
        bundle = known[proposal.bundle] if proposal.bundle is not None else None
        if bundle is not None and self._is_shown(bundle.index):
            proposal = bundle
        return len(agreeing(self.reader.constitution, as_of(proposal, self._is_shown)))

    def _is_shown(self, index: int) -> bool:
        return index < self.scope.stop or index in self.later


def _find(places: Mapping[bytes, int], digest: str) -> int | None:
    return places.get(ids.parse_digest(digest))
