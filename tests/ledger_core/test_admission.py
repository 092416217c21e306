"""Admission: what is refused before any ledger is asked, each with its own error."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from ledger_core import ids
from ledger_core.admission import admit
from ledger_core.errors import (
    CommitmentError,
    ForeignLedgerError,
    LedgerGridError,
    PayloadError,
    SignatureError,
    UnknownTypeError,
)
from ledger_core.formats import record as records
from ledger_core.formats.record import Part, SignedRecord
from ledger_core.formats.submission import Submission
from tests.support.ledgers import Author

ORIGIN = "ledgergrid.example/log1"
AUTHOR = Author(ORIGIN)
NOTE = AUTHOR.note({"a": 1})


def under(signature: bytes) -> Submission:
    """Put another signature under the note."""
    return Submission(SignedRecord(NOTE.signed.record, NOTE.signed.raw, signature), NOTE.parts)


def with_raw(raw: bytes) -> Submission:
    """Put other words over the note's signature."""
    return Submission(
        SignedRecord(records.parse_record(raw), raw, NOTE.signed.signature), NOTE.parts
    )


def with_parts(**parts: Part) -> Submission:
    return Submission(NOTE.signed, parts)


def sealed(**fields: object) -> Submission:
    """Seal the note's record anew with other fields: a right signature under wrong words."""
    record = msgspec.structs.replace(NOTE.signed.record, **fields)
    return Submission(records.seal(record, AUTHOR.key), NOTE.parts)


BODY = NOTE.parts["body"]
REFUSED: dict[str, tuple[Callable[[], Submission], type[LedgerGridError]]] = {
    "another ledger": (lambda: sealed(ledger="ledgergrid.example/other"), ForeignLedgerError),
    "unknown type": (lambda: sealed(type="rumour/1"), UnknownTypeError),
    "unknown version": (lambda: sealed(type="note/2"), UnknownTypeError),
    "signature of zeros": (lambda: under(bytes(64)), SignatureError),
    "short signature": (lambda: under(b"x"), SignatureError),
    "another's signature": (
        lambda: under(Author(ORIGIN).note().signed.signature),
        SignatureError,
    ),
    "changed record": (
        lambda: with_raw(NOTE.signed.raw.replace(b'"size":7', b'"size":8')),
        SignatureError,
    ),
    "other payload": (lambda: with_parts(body=Part(BODY.salt, b'{"a":2}')), CommitmentError),
    "longer payload": (lambda: with_parts(body=Part(BODY.salt, b'{"a":1} ')), CommitmentError),
    "other salt": (lambda: with_parts(body=Part(bytes(32), BODY.data)), CommitmentError),
    "short salt": (lambda: with_parts(body=Part(b"", BODY.data)), CommitmentError),
    "no payload": (lambda: with_parts(), CommitmentError),
    "one part more": (lambda: with_parts(body=BODY, more=BODY), CommitmentError),
    "not JSON": (lambda: AUTHOR.seal("note/1", {"body": b"{"}), PayloadError),
    "unknown part": (lambda: AUTHOR.seal("note/1", {"head": b"1"}), PayloadError),
    "part missing": (lambda: AUTHOR.seal("note/1", {}), PayloadError),
    "other media type": (
        lambda: AUTHOR.seal("note/1", {"body": b"1"}, media_types={"body": "text/plain"}),
        PayloadError,
    ),
    "against the schema": (lambda: AUTHOR.seal("agent.action/1", {"body": b"{}"}), PayloadError),
    "against the rule": (
        lambda: AUTHOR.seal("key/1", {"body": Author("other.example/log").registration()}),
        PayloadError,
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_for(what: str) -> None:
    make, expected = REFUSED[what]
    with pytest.raises(LedgerGridError) as error:
        admit(make(), ORIGIN)
    assert type(error.value) is expected


def test_what_is_right_is_admitted_with_its_bytes_untouched() -> None:
    target = b"\x05" * 32
    note = AUTHOR.note({"a": 1}, refs=[("causes", target)])
    admitted = admit(note, ORIGIN)
    assert admitted.signed.raw == note.signed.raw
    assert admitted.parts == note.parts
    assert admitted.record_id == ids.parse_record_id(note.signed.record.id)
    assert admitted.refs == (target,)
    assert admitted.payload == {"body": {"a": 1}}
