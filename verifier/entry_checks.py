"""The numbered checks of entries and records: 5, 6, 8 to 10 and 16, one function a claim.

They are like those in archive_checks.py; :mod:`verifier.segments` runs them over the entries,
on all cores. Payload parts and changes have theirs in contents.py.
"""

from __future__ import annotations

from typing import NoReturn

from ledger_core import clock, ids
from ledger_core.errors import (
    MalformedError,
    RefusedError,
    SignatureError,
    StandingError,
    UnknownTypeError,
)
from ledger_core.formats import entry as entries
from ledger_core.formats import record as records
from ledger_core.formats.entry import Entry, Header
from ledger_core.formats.record import Record, SignedRecord
from ledger_core.policy.assembly import Due, due_type
from ledger_core.policy.constitution import Constitution, KeyStanding
from ledger_core.records.model import RecordType
from ledger_core.records.registry import find_type
from verifier.findings import Finding, Likely, finding_of, refute

# --- 5 entries, 6 chain ------------------------------------------------------------


def parse_leaf(index: int, leaf: bytes) -> Entry:
    """5: a leaf has the format of an entry."""
    try:
        return entries.parse_entry(leaf)
    except MalformedError as error:
        refute(5, "entry", "the format of an entry", error, Likely.EDITED, index=index)


def check_entry(index: int, header: Header, origin: str) -> None:
    """5: an entry names the origin that the log has there, and its own index."""
    if header.index != index:
        refute(5, "index", index, header.index, Likely.MOVED, index=index)
    if header.origin != origin:
        refute(5, "origin", origin, header.origin, Likely.REPLACED_ENTRY, index=index)


def check_link(index: int, header: Header, previous: bytes | None) -> None:
    """6: an entry names the leaf hash of the one before (None: that one is not shown)."""
    if previous is not None and header.previous != previous:
        expected, found = map(ids.encode_base64, (previous, header.previous))
        refute(6, "previous", expected, found, Likely.MOVED, index=index)


def check_time(index: int, received_at: int, not_before: int) -> None:
    """6: time received never decreases."""
    if received_at < not_before:
        expected, found = map(clock.format_time, (not_before, received_at))
        refute(6, "received_at", f"{expected} or later", found, Likely.MOVED, index=index)


# --- 8 records, 9 ids --------------------------------------------------------------


def check_record(index: int, raw: bytes, signature: bytes, meant_for: tuple[str, ...]) -> Record:
    """8: a record is canonical, meant for this ledger and signed by its author.

    ``meant_for``: the origins that the ledger has had up to there, oldest first.
    """
    try:
        record = records.parse_record(raw)
        records.verify_record(SignedRecord(record, raw, signature))
    except MalformedError as error:
        refute(8, "record", "canonical form", error, Likely.EDITED, index=index)
    except SignatureError as error:
        refute(8, "signature", "the author's", error, Likely.FORGED, index=index)
    if record.ledger not in meant_for:
        refute(8, "ledger", meant_for[-1], record.ledger, Likely.REPLACED_ENTRY, index=index)
    return record


def check_type(index: int, record: Record) -> RecordType:
    """8: a record is of a type that this verifier knows."""
    try:
        return find_type(record.type)
    except UnknownTypeError:
        refute(
            8,
            "type",
            "a known record type",
            record.type,
            Likely.UNSUPPORTED,
            index=index,
            level="malformed",
        )


def repeated_id(index: int, record_id: bytes, first: int) -> Finding:
    """9: no earlier entry has the same id, but ``first`` does."""
    found = f"{ids.format_record_id(record_id)}, as entry {first}"
    return finding_of(9, "id", "an id of its own", found, Likely.REPEATED, index=index)


# --- 10 standing, 16 agreement -----------------------------------------------------


def check_author(index: int, author: str, constitution: Constitution, kind: RecordType) -> None:
    """10: the author's key stood, with a role for this type, at this index."""
    try:
        constitution.check_author(author, kind, index)
    except StandingError as error:
        key = constitution.keys.get(author)
        likely = _class_of(key, stood=constitution.stands_at(author, index))
        refute(10, "author", "a key that stood", f"{author}: {error}", likely, index=index)


def _class_of(key: KeyStanding | None, *, stood: bool) -> Likely:
    return Likely.NO_ROLE if key is not None and stood else Likely.UNREGISTERED


def refute_change(index: int, error: RefusedError) -> NoReturn:
    """10: a change to the constitution is one that may be, by one who may."""
    likely = Likely.BAD_PAYLOAD
    refute(10, "governance", "a change that may be", error, likely, index=index)


def refute_agreement(index: int, kind: RecordType, error: RefusedError) -> NoReturn:
    """16: what is said of a proposal, and how it ends, is what the rules say."""
    refute(16, kind.name, "what the agreement's rules allow", error, Likely.STATUS, index=index)


def refute_due(index: int, due: Due) -> NoReturn:
    """16: an outcome or evidence follows at once on the entry that brings it about."""
    refute(16, due_type(due).name, due, "another entry, or none", Likely.STATUS, index=index)
