"""The submission: how a sealed record and its payload travel to a ledger, as JSON.

::

    {"envelope":{"payload":"eyJhdXRob3Ii…","payloadType":"application/vnd.ledgergrid.record+json",
                 "signatures":[{"sig":"3q2+7w…"}]},
     "parts":{"body":{"data":"eyJhIjoxfQ==","salt":"q83v…"}}}

``envelope`` is a DSSE envelope (JSON form): its ``payload`` is the record's bytes. It is
transport only: what is stored and hashed are the record's bytes, not this JSON. The JSON
may be spelled freely, the base64 in it (RFC 4648 section 4, padded) in one way only.
In a batch each line is one submission (NDJSON).

Source: https://github.com/secure-systems-lab/dsse/blob/master/envelope.md
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from ledger_core import clock, ids, limits
from ledger_core.errors import MalformedError, TooLargeError
from ledger_core.formats import ed25519
from ledger_core.formats import record as records
from ledger_core.formats.record import Part, SignedRecord


class Submission(msgspec.Struct, frozen=True):
    """A signed record and its payload in the clear, by part name."""

    signed: SignedRecord
    parts: Mapping[str, Part]


class _Signature(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    payload: str
    payloadType: str
    signatures: list[_Signature]


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    data: str
    salt: str


class _Submission(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    envelope: _Envelope
    parts: dict[str, _Part] = {}


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(_Submission)


def format_submission(submission: Submission) -> bytes:
    """Format one line of JSON, without a newline at its end."""
    signed = submission.signed
    encode = ids.encode_base64
    parts = {name: _Part(encode(p.data), encode(p.salt)) for name, p in submission.parts.items()}
    signatures = [_Signature(encode(signed.signature))]
    envelope = _Envelope(encode(signed.raw), records.PAYLOAD_TYPE.decode(), signatures)
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
    record = _decode("payload", envelope.payload)
    signed = SignedRecord(
        records.parse_record(record), record, _decode("sig", envelope.signatures[0].sig)
    )
    parts = {
        name: Part(_decode("salt", part.salt), _decode("data", part.data))
        for name, part in parsed.parts.items()
    }
    return Submission(signed, parts)


def _decode(field: str, text: str) -> bytes:
    try:
        return ids.decode_base64(text)
    except MalformedError:
        # Payloads and salts never stand in an error's text.
        raise MalformedError(f"submission's {field} is not base64 in its one spelling") from None


def seal_json(
    ledger: str, type_name: str, body: bytes, key: ed25519.PrivateKey, made_at_ms: int
) -> Submission:
    """Seal a new record with one JSON part, ``body``."""
    return _seal(ledger, type_name, body, key, made_at_ms, ids.new_record_id(), None)


def seal_repeatably(
    ledger: str,
    type_name: str,
    body: bytes,
    key: ed25519.PrivateKey,
    at_ms: int,
    seed: bytes,
    *,
    part: str = "body",
) -> Submission:
    """Seal a record with one JSON part, ``part``: the same bytes every time.

    So a record that is appended again, after a crash or by another process, has its place
    already. Id and salt follow from a signature over ``seed``, which nobody else can make; it
    begins with a tag of its own.
    """
    signature = key.sign(seed)
    record_id = ids.make_record_id(at_ms, sha256(b"id" + signature).digest()[:10])
    salt = sha256(b"salt" + signature).digest()
    return _seal(ledger, type_name, body, key, at_ms, record_id, salt, part)


def _seal(
    ledger: str,
    type_name: str,
    body: bytes,
    key: ed25519.PrivateKey,
    made_at_ms: int,
    record_id: str,
    salt: bytes | None,
    name: str = "body",
) -> Submission:
    ref, part = records.make_part(body, "application/json", salt)
    record = records.Record(
        v=1,
        ledger=ledger,
        id=record_id,
        type=type_name,
        author=ids.format_key(key.public_key),
        made_at=clock.format_time(made_at_ms),
        payload={name: ref},
    )
    return Submission(records.seal(record, key), {name: part})
