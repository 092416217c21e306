"""Reads a ledger's constitution from its own entries, and keeps it up to date in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

from ledger_core import ids
from ledger_core.errors import IntegrityError, LedgerGridError
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import parse_record
from ledger_core.merkle.tree import leaf_hash
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import replay
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.proposals import Proposal
from ledger_core.records.model import decode_payload
from ledger_core.records.registry import find_type
from ledger_core.records.types.epoch import Epoch, Statement
from ledger_core.records.types.outcome import Outcome
from ledger_core.storage import assemblies, epochs, store
from ledger_core.storage.database import Transaction
from ledger_core.storage.store import SealedEntry, plain_part

_AT_ONCE = 500


def extend(
    tx: Transaction, ledger_id: int, constitution: Constitution, start: int, end: int
) -> Constitution:
    """Return the constitution at ``end``, given the one at ``start``.

    Raises :class:`IntegrityError` if what it is made of is not what was appended.
    """
    indexes = assemblies.read_constitutional(tx, ledger_id, start, end)
    if start == 0 and indexes[:1] != [0]:
        raise IntegrityError("the ledger has no charter", index=0)
    return extend_by(tx, ledger_id, constitution, indexes)


def extend_by(
    tx: Transaction, ledger_id: int, constitution: Constitution, indexes: Sequence[int]
) -> Constitution:
    """Return the constitution that entries of these indexes make of the one given."""
    if not indexes:
        return constitution
    grown = constitution.copy()
    for act in read_acts(tx, ledger_id, indexes):
        try:
            replay(grown, act)
        except LedgerGridError as error:
            raise IntegrityError(f"entry {act.index}: {error}", index=act.index) from error
    return grown


def read_acts(tx: Transaction, ledger_id: int, indexes: Sequence[int]) -> Iterator[Act]:
    """Yield governance entries as they were appended; :class:`IntegrityError` if one is not."""
    for at in range(0, len(indexes), _AT_ONCE):
        wanted = indexes[at : at + _AT_ONCE]
        entries = store.read_entries(tx, ledger_id, wanted)
        if [entry.index for entry in entries] != list(wanted):
            raise IntegrityError("an entry of the constitution is missing", index=wanted[0])
        yield from map(_act_of, entries)


def _act_of(entry: SealedEntry) -> Act:
    if leaf_hash(entry.leaf) != entry.leaf_hash:
        raise IntegrityError(f"entry {entry.index} does not have its leaf hash", index=entry.index)
    parsed = parse_entry(entry.leaf)
    record = parse_record(parsed.record)
    kind = find_type(record.type)
    parts = {name: plain_part(entry.index, part) for name, part in entry.parts.items()}
    try:
        payload = decode_payload(kind, record, parts)
    except LedgerGridError as error:
        raise IntegrityError(f"entry {entry.index}: {error}", index=entry.index) from error
    received_at = parsed.header.received_at
    return Act(entry.index, entry.leaf_hash, received_at, kind, record.author, payload)


def check_ended(tx: Transaction, ledger_id: int, found: Iterable[Proposal]) -> None:
    """Raise :class:`IntegrityError` unless each proposal ended as the entry that ended it says.

    What the database remembers of a proposal is no authority; this is read before it is shown.
    """
    ended = {each.outcome: each for each in found if each.outcome is not None and not each.bundle}
    for act in read_acts(tx, ledger_id, sorted(ended)):
        body, proposal = act.payload.get("body"), ended[act.index]
        named = ids.format_digest(proposal.leaf_hash)
        if not isinstance(body, Outcome) or (body.proposal, body.verdict) != (
            named,
            proposal.verdict,
        ):
            message = f"entry {act.index} is not the outcome of proposal {proposal.index}"
            raise IntegrityError(message, index=proposal.index)


def read_epochs(tx: Transaction, ledger_id: int) -> list[Statement]:
    """Return the statements of a ledger's epochs, in order."""
    acts = read_acts(tx, ledger_id, epochs.read_indexes(tx, ledger_id))
    bodies = [act.payload.get("body") for act in acts]
    if not all(isinstance(body, Epoch) for body in bodies):
        raise IntegrityError("an epoch is no entry that opened one")
    return [body.statement for body in bodies if isinstance(body, Epoch)]


class ConstitutionReader:
    """The newest constitution of one ledger, for those who read. Guarded by ``_lock``."""

    def __init__(self, ledger_id: int) -> None:
        self._ledger_id = ledger_id
        self._lock = threading.Lock()
        self._size = 0
        self._newest = Constitution()

    def read(self, tx: Transaction) -> Constitution:
        """Return the constitution as the database has it now; nobody may change it."""
        size = store.read_head(tx, self._ledger_id).size
        with self._lock:
            if size > self._size:
                self._newest = extend(tx, self._ledger_id, self._newest, self._size, size)
                self._size = size
            return self._newest
