"""Reads what states are made of: effects, proposals and the entries that changed others.

Everything here is found by an index of the database, so it costs the same in a ledger of a
million entries as in one of ten.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from ledger_core import limits
from ledger_core.clock import parse_time
from ledger_core.constitutions import ConstitutionReader, check_ended
from ledger_core.errors import IntegrityError, MalformedError
from ledger_core.formats.entry import look_into
from ledger_core.formats.record import Ref
from ledger_core.policy.effects import Effect
from ledger_core.policy.proposals import Proposal
from ledger_core.policy.states import Facts, Happened, Known, State, What, history_of, state_at
from ledger_core.storage import assemblies, effects, store
from ledger_core.storage.database import Transaction
from ledger_core.storage.store import StoredEntry


class _Said(msgspec.Struct):
    type: str
    author: str
    payload: dict[str, Any] = {}
    refs: tuple[Ref, ...] = ()


_SAID = msgspec.json.Decoder(_Said)


class Change(msgspec.Struct, frozen=True):
    """An entry that changed another, and the proposal that it was if it had to be agreed to.

    ``received_at`` in ms.
    """

    index: int
    leaf_hash: bytes
    type: str
    author: str
    received_at: int
    proposal: Proposal | None


class States:
    """What holds of one ledger's entries, for those who read; blocking, thread-safe.

    ``reading`` opens the transaction that a question is answered in.
    """

    def __init__(
        self,
        ledger_id: int,
        reading: Callable[[], AbstractContextManager[Transaction]],
        constitution: ConstitutionReader,
    ) -> None:
        self._ledger_id = ledger_id
        self._reading = reading
        self._constitution = constitution

    def of(self, entries: Sequence[StoredEntry], at: int | None = None) -> dict[int, State]:
        """Return, by index, what holds of these entries at ``at``, or now."""
        with self._reading() as tx:
            about = [_read_facts(each) for each in entries]
            known = self._read_known(tx, about)
            size = store.read_head(tx, self._ledger_id).size
            return {each.index: state_at(known, each, size if at is None else at) for each in about}

    def history(self, entry: StoredEntry, at: int) -> list[tuple[Happened, Change]]:
        """Return what was done to an entry before ``at``, newest last, by which entries.

        Of very many changes the newest.
        """
        with self._reading() as tx:
            facts = _read_facts(entry)
            happened = history_of(self._read_known(tx, [facts]), facts, at)
            happened = happened[-limits.HISTORY_ITEMS :]
            changes = _read_behind(tx, self._ledger_id, facts.type, happened)
            return list(zip(happened, changes, strict=True))

    def changes(self, indexes: Sequence[int]) -> list[Change]:
        """Return the named entries as changes of others, in order of index."""
        with self._reading() as tx:
            return _read_changes(tx, self._ledger_id, indexes)

    def index_at(self, time_ms: int) -> int:
        """Return how many entries had been received by then; times received never decrease."""
        with self._reading() as tx:
            low, high = 0, store.read_head(tx, self._ledger_id).size
            while low < high:
                middle = (low + high) // 2
                if _received_at(tx, self._ledger_id, middle) <= time_ms:
                    low = middle + 1
                else:
                    high = middle
            return low

    def indexes_of(self, leaf_hashes: Collection[bytes]) -> dict[bytes, int]:
        """Return the indexes of those of the named entries that exist."""
        with self._reading() as tx:
            return store.find_indexes(tx, self._ledger_id, leaf_hashes)

    def part_names(self, indexes: Sequence[int]) -> dict[int, frozenset[str]]:
        """Return, by index, which parts of these entries' payloads are there."""
        with self._reading() as tx:
            return effects.find_part_names(tx, self._ledger_id, indexes)

    def _read_known(self, tx: Transaction, about: Sequence[Facts]) -> Known:
        """Read all that the states of these entries are made of."""
        ledger_id, constitution = self._ledger_id, self._constitution.read(tx)
        changed: dict[bytes, Effect] = {}
        if constitution.mutability:  # Else nothing was ever changed here.
            found = effects.find_changed(tx, ledger_id, [each.index for each in about])
            changed = {each.leaf_hash: each for each in found.values()}
            originals = {each.original for each in changed.values() if each.original is not None}
            changed |= effects.find(tx, ledger_id, originals - changed.keys())
        proposals: dict[bytes, Proposal] = {}
        if constitution.policies:
            wanted = {each.leaf_hash for each in about} | changed.keys()
            proposals = assemblies.find_proposals(tx, ledger_id, wanted)
            check_ended(tx, ledger_id, proposals.values())
        return Known(constitution, changed, proposals)


def _read_facts(entry: StoredEntry) -> Facts:
    said, received_at = _look(entry.index, entry.leaf)
    return Facts(
        entry.index, entry.leaf_hash, said.type, said.author, received_at, tuple(said.payload)
    )


def _look(index: int, leaf: bytes) -> tuple[_Said, int]:
    try:
        received_at, record = look_into(leaf)
        return _SAID.decode(record), parse_time(received_at)
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError, MalformedError) as error:
        raise IntegrityError(f"entry {index}: {error}", index=index) from None


_ENTRIES_OF: dict[What, str] = {
    "rollback": "rollback/1",
    "redact": "redaction/1",
    "unredact": "redaction/1",
    "hold": "hold/1",
    "release": "hold/1",
    "erasure": "erasure/1",
    "retention": "retention/1",
}


def _read_behind(
    tx: Transaction, ledger_id: int, type_name: str, history: Sequence[Happened]
) -> list[Change]:
    """Return the entry behind each thing that happened to an entry of this type.

    Raises :class:`IntegrityError` if there is none that says so: what is remembered of effects
    is no authority.
    """
    if not history:
        return []
    hashes = {each.by for each in history if each.by is not None}
    indexes = store.find_indexes(tx, ledger_id, hashes)
    places = [each.at if each.by is None else indexes.get(each.by, -1) for each in history]
    found = {each.index: each for each in _read_changes(tx, ledger_id, sorted(set(places)))}
    for each, place in zip(history, places, strict=True):
        change, expected = found.get(place), _ENTRIES_OF.get(each.what, type_name)
        if change is None or change.type != expected or change.index > each.at:
            raise IntegrityError(f"no {each.what} stands behind what happened at {each.at}")
    return [found[place] for place in places]


def _read_changes(tx: Transaction, ledger_id: int, indexes: Sequence[int]) -> list[Change]:
    """Return those of the named entries that exist, with the proposals that they were."""
    entries = store.read_entries(tx, ledger_id, indexes, with_payload=False)
    proposals = assemblies.find_proposals(tx, ledger_id, {each.leaf_hash for each in entries})
    check_ended(tx, ledger_id, proposals.values())
    changes: list[Change] = []
    for each in entries:
        said, received_at = _look(each.index, each.leaf)
        changes.append(
            Change(
                each.index,
                each.leaf_hash,
                said.type,
                said.author,
                received_at,
                proposals.get(each.leaf_hash),
            )
        )
    return changes


def _received_at(tx: Transaction, ledger_id: int, index: int) -> int:
    leaves = store.read_leaves(tx, ledger_id, index, index + 1)
    if not leaves:
        raise IntegrityError(f"entry {index} is missing", index=index)
    return _look(index, leaves[0])[1]
