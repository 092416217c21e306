"""Admission: all that can be said of a submission without looking at the ledger.

Parse once, then: signature, meant for this ledger, known type, commitments, schema, rule.
Runs off the event loop and in parallel: libsodium lets go of the interpreter while it
verifies a signature.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ledger_core import ids
from ledger_core.errors import ForeignLedgerError
from ledger_core.formats.record import Part, SignedRecord, verify_record
from ledger_core.formats.submission import Submission
from ledger_core.policy.allowances import Draw, Rate
from ledger_core.policy.changes import amended_by, named_entries
from ledger_core.policy.streams import counter_of
from ledger_core.records.model import Payload, RecordType, decode_payload
from ledger_core.records.registry import find_type


class Admitted(msgspec.Struct, frozen=True):
    """A submission that may be given a place, if its author stands and its id is free."""

    signed: SignedRecord
    record_id: bytes
    kind: RecordType
    parts: Mapping[str, Part]
    payload: Payload
    refs: tuple[bytes, ...]
    named: tuple[bytes, ...] = ()
    """Entries whose effect decides whether it may be, by leaf hash."""
    amends: str | None = None
    """The leaf hash of the version that it amends."""
    counter: bytes | None = None
    draws: tuple[Draw, ...] = ()
    """Of records that the service makes itself: what they take from allowances."""
    rates: tuple[Rate, ...] = ()
    may_be_stopped: bool = False
    """It is refused while all calls are stopped."""


def admit(submission: Submission, *origins: str) -> Admitted:
    """Check a submission for the ledger that has, or had, these origins, the newest last.

    Raises a :class:`RefusedError`.
    """
    record = submission.signed.record
    verify_record(submission.signed)
    if record.ledger not in origins:
        raise ForeignLedgerError(
            f"this record is for {record.ledger}, this ledger is {origins[-1]}"
        )
    kind = find_type(record.type)
    payload, amends = decode_payload(kind, record, submission.parts), amended_by(kind, record.refs)
    refs = tuple(ids.parse_digest(ref.to) for ref in record.refs)
    return Admitted(
        signed=submission.signed,
        record_id=ids.parse_record_id(record.id),
        kind=kind,
        parts=submission.parts,
        payload=payload,
        refs=refs,
        named=named_entries(kind, payload, amends),
        amends=amends,
        counter=counter_of(kind, record),
    )
