"""The submission: how a sealed record and its payload travel to a ledger, as JSON.

::

    {"envelope":{"payload":"eyJhdXRob3Ii…","payloadType":"application/vnd.ledgergrid.record+json",
                 "signatures":[{"sig":"3q2+7w…"}]},
     "parts":{"body":{"data":"eyJhIjoxfQ==","salt":"q83v…"}}}

``envelope`` is a DSSE envelope (JSON form): its ``payload`` is the record's bytes. It is
transport only: what is stored and hashed are the record's bytes, not this JSON.
In a batch each line is one submission (NDJSON).

Source: https://github.com/secure-systems-lab/dsse/blob/master/envelope.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from ledger_core import limits
from ledger_core.errors import MalformedError, TooLargeError
from ledger_core.formats import record as records
from ledger_core.formats.record import Part, SignedRecord


@dataclass(frozen=True)
class Submission:
    """A signed record and its payload in the clear, by part name."""

    signed: SignedRecord
    parts: Mapping[str, Part]


class _Signature(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    sig: bytes
    keyid: str = ""


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    payload: bytes
    payloadType: str
    signatures: list[_Signature]


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    data: bytes
    salt: bytes


class _Submission(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    envelope: _Envelope
    parts: dict[str, _Part] = {}


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(_Submission)


def format_submission(submission: Submission) -> bytes:
    """Format one line of JSON, without a newline at its end."""
    signed = submission.signed
    parts = {name: _Part(p.data, p.salt) for name, p in submission.parts.items()}
    signatures = [_Signature(signed.signature)]
    envelope = _Envelope(signed.raw, records.PAYLOAD_TYPE.decode(), signatures)
    return _ENCODER.encode(_Submission(envelope, parts))


def parse_submission(raw: bytes) -> Submission:
    """Parse JSON and the record in it; verify no signature and no commitment."""
    if len(raw) > limits.SUBMISSION_BYTES:
        raise TooLargeError(f"submission is larger than {limits.SUBMISSION_BYTES} bytes")
    try:
        parsed = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"submission is not valid: {error}") from None
    envelope = parsed.envelope
    if envelope.payloadType != records.PAYLOAD_TYPE.decode():
        raise MalformedError(f"payloadType is not {records.PAYLOAD_TYPE.decode()}")
    if len(envelope.signatures) != 1:
        raise MalformedError("an envelope carries exactly one signature, its author's")
    record = records.parse_record(envelope.payload)
    parts = {name: Part(p.salt, p.data) for name, p in parsed.parts.items()}
    return Submission(SignedRecord(record, envelope.payload, envelope.signatures[0].sig), parts)
