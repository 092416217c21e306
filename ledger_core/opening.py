"""Opens entries for readers: leaf, payload, and of each part that is not there, why.

The one place where ledgers open entries: whatever hides or has destroyed a part counts here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger_core.constitutions import ConstitutionReader
from ledger_core.erased import Erasures, Place, find_erased, is_erasable
from ledger_core.errors import CommitmentError, IntegrityError
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import Part, PartRef, Record, check_part, parse_record
from ledger_core.merkle.tree import leaf_hash
from ledger_core.payloads import Opened, Payloads
from ledger_core.policy.constitution import Constitution
from ledger_core.storage import store
from ledger_core.storage.database import Transaction
from ledger_core.storage.store import SealedEntry, StoredEntry
from ledger_core.viewing import Seen, see


def open_entries(
    tx: Transaction,
    ledger_id: int,
    found: Sequence[SealedEntry],
    payloads: Payloads,
    constitution: ConstitutionReader,
) -> list[StoredEntry]:
    """Return entries whose leaves and payloads are what hashes and commitments say."""
    checked = [_read(entry) for entry in found]
    refs = {place.index: record.payload for place, record in checked}
    erased = _find_erased(tx, ledger_id, checked, constitution)
    opened = payloads.open({entry.index: entry.parts for entry in found}, refs, erased)
    return [_check(entry, refs[entry.index], opened[entry.index]) for entry in found]


def look_into_entries(
    tx: Transaction,
    ledger_id: int,
    indexes: Sequence[int],
    payloads: Payloads,
    constitution: Constitution,
) -> list[tuple[Seen, Opened]]:
    """Return what views are made of, with all of its payload; hashes are for whoever is shown it.

    A sealed part opens under the commitment alone that the record names.
    """
    found = store.read_entries(tx, ledger_id, indexes)
    seen = [see(each) for each in found]
    refs = {each.index: each.record.payload for each in seen}
    erased = find_erased(
        tx, ledger_id, constitution, [(place_of(each), each.record.payload) for each in seen]
    )
    stored = {each.index: each.parts for each in found}
    opened = payloads.open(stored, refs, erased)
    return [(each, opened[each.index]) for each in seen]


def place_of(seen: Seen) -> Place:
    record = seen.record
    return Place(seen.index, seen.leaf_hash, record.type, record.author, seen.received_at)


def check_leaf(entry: SealedEntry) -> StoredEntry:
    """Return an entry without its payload, if its leaf is what its hash says."""
    _read(entry)
    return StoredEntry(entry.index, entry.leaf_hash, entry.leaf, {})


def _read(entry: SealedEntry) -> tuple[Place, Record]:
    if leaf_hash(entry.leaf) != entry.leaf_hash:
        raise IntegrityError(f"entry {entry.index} does not have its leaf hash", index=entry.index)
    parsed = parse_entry(entry.leaf)
    record = parse_record(parsed.record)
    received_at = parsed.header.received_at
    return Place(entry.index, entry.leaf_hash, record.type, record.author, received_at), record


def _find_erased(
    tx: Transaction,
    ledger_id: int,
    checked: Sequence[tuple[Place, Record]],
    constitution: ConstitutionReader,
) -> Erasures:
    wanted = [(place, record.payload) for place, record in checked if is_erasable(place.type)]
    if not wanted:
        return {}  # Governance is read even where the constitution cannot be.
    return find_erased(tx, ledger_id, constitution.read(tx), wanted)


def _check(entry: SealedEntry, payload: Mapping[str, PartRef], opened: Opened) -> StoredEntry:
    """Return the entry with its parts, if they are what the record commits to."""
    parts = {name: part for name, part in opened.items() if isinstance(part, Part)}
    gone = {name: part for name, part in opened.items() if not isinstance(part, Part)}
    try:
        for name, part in parts.items():
            check_part(name, payload[name], part)
        for name in entry.parts:
            if name not in payload:
                raise CommitmentError(f"part {name} is none of the record's")
    except CommitmentError as error:
        raise IntegrityError(f"entry {entry.index}: {error}", index=entry.index) from error
    return StoredEntry(entry.index, entry.leaf_hash, entry.leaf, parts, gone)
