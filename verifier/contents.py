"""The numbered checks of payload parts and of changes: 11 and 17."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NoReturn

from ledger_core.errors import CommitmentError, LedgerGridError, PayloadError
from ledger_core.formats.archive import Frame
from ledger_core.formats.record import Part, Record, check_part
from ledger_core.policy.changes import amended_by
from ledger_core.records.model import Payload, RecordType, decode_part, decode_payload
from verifier.findings import Finding, Likely, Refuted, finding_of, refute

# --- 11 payloads -------------------------------------------------------------------


def check_parts(
    index: int,
    kind: RecordType,
    record: Record,
    parts: Mapping[str, Frame],
    watched: AbstractSet[int],
) -> None:
    """11: there are frames of parts that the record commits to only; of governance, of all.

    ``watched``: the entries that changes name. Nothing else can be redacted.
    """
    for name in record.payload:
        if name not in parts and (kind.is_governance or name not in kind.parts):
            raise Refuted(missing_part(index, name))
    for name, frame in parts.items():
        if name not in record.payload:
            found = "a part no record commits to"
            field, likely = f"part {name}", Likely.REPLACED_PAYLOAD
            refute(11, field, "no frame", found, likely, index=index)
        if frame.is_redacted and index not in watched:
            raise Refuted(unfounded_part(index, name))
    if kind.is_governance and any(frame.part is None for frame in parts.values()):
        expected, likely = "governance, always shown", Likely.WITHHELD
        refute(11, "payload", expected, "withheld", likely, index=index)


def missing_part(index: int, name: str) -> Finding:
    """11: a part that is not there was erased by order; or it is missing."""
    field, likely = f"part {name}", Likely.MISSING_PAYLOAD
    found = "missing: neither there nor withheld, and not erased by order"
    return finding_of(11, field, "a frame", found, likely, index=index)


def unfounded_part(index: int, name: str) -> Finding:
    """11: what is declared redacted, a redaction in force hides."""
    field, found = f"part {name}", "declared redacted"
    return finding_of(11, field, "a redaction in force", found, Likely.CLAIM, index=index)


def kept_part(index: int, name: str) -> Finding:
    """11: what was erased is not there."""
    field, found = f"part {name}", "shown, or said to be there"
    return finding_of(11, field, "erased, as ordered", found, Likely.KEPT, index=index)


def check_payload(
    index: int, kind: RecordType, record: Record, shown: Mapping[str, Part]
) -> Payload | None:
    """11: parts shown match commitments, schemas and the type's rule; None if some are withheld."""
    try:
        if len(shown) == len(record.payload):
            return decode_payload(kind, record, shown)
        for name, part in shown.items():
            _check_lone_part(kind, record, name, part)
    except CommitmentError as error:
        expected, found = "what is committed to", f"mismatch: {error}"
        refute(11, "payload", expected, found, Likely.REPLACED_PAYLOAD, index=index)
    except PayloadError as error:
        expected = f"a payload of {kind.name}"
        refute(11, "payload", expected, error, Likely.BAD_PAYLOAD, index=index)
    return None


def _check_lone_part(kind: RecordType, record: Record, name: str, part: Part) -> None:
    """Check all that can be said of a part whose siblings are withheld: not the type's rule."""
    check_part(name, record.payload[name], part)
    decode_part(kind, name, record.payload[name].media_type, part.data)


# --- 17 changes --------------------------------------------------------------------


def check_amended(index: int, kind: RecordType, record: Record) -> str | None:
    """17: a record amends one other, governance none; returns the leaf hash that it amends."""
    try:
        return amended_by(kind, record.refs)
    except PayloadError as error:
        expected = "one version that it amends"
        refute(17, "refs", expected, error, Likely.NOT_ALLOWED, index=index)


def refute_alteration(index: int, kind: RecordType, error: LedgerGridError) -> NoReturn:
    """17: a change is one that might be made, by one who might ask for it."""
    expected = "a change that may be"
    refute(17, kind.name, expected, error, Likely.NOT_ALLOWED, index=index)
