"""The record: what an author signs.

::

    {"author":"ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w",
     "id":"01990b1f-5a00-7000-8000-000000000001",
     "ledger":"ledgergrid.example/log1",
     "made_at":"2026-08-01T10:11:12.345Z",
     "payload":{"body":{"commitment":"sha256:…","media_type":"application/json","size":17}},
     "type":"note/1","v":1}

On the wire it is one line of canonical JSON (RFC 8785) in a restricted profile: ASCII
keys, integers within ±(2**53 - 1), no floats, no null, no empty optional field. Record
bytes are valid only if formatting what was parsed gives the same bytes again.

The signature is DSSE: Ed25519 over PAE(payload type, record bytes). A payload lies beside
the log; the record commits to each of its parts with a salted hash.

Sources: RFC 8785, https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

from __future__ import annotations

import re
import secrets
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Literal

import msgspec

from ledger_core import clock, ids, limits
from ledger_core.errors import CommitmentError, MalformedError, TooLargeError
from ledger_core.formats import ed25519

PAYLOAD_TYPE = b"application/vnd.ledgergrid.record+json"
SALT_BYTES = 32
_COMMITMENT_TAG = b"ledgergrid/payload-commitment/v1\n"

Count = Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_INTEGER)]
Relation = Literal["amends", "reverts", "redacts", "erases", "endorses", "causes", "answers"]
"""``amends`` makes a record the new version of another; all others are for those who read."""

_TYPE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*/[1-9][0-9]{0,3}")
_PART = re.compile(r"[a-z][a-z0-9_]{0,31}")
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+(?:;charset=[a-z0-9-]+)?")
_STREAM = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_MEMBER = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")


class PartRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a record says of one payload part: its salted hash, media type and size in bytes."""

    commitment: str
    media_type: str
    size: Count


class Ref(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A typed link to an earlier entry, by leaf hash."""

    rel: Relation
    to: str


class Saw(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last checkpoint the author verified before making the record."""

    root: str
    size: Count


class Record(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The fields of docs/spec/record.md, checked by :func:`parse_record`."""

    v: Literal[1]
    ledger: str
    id: str
    type: str
    author: str
    made_at: str
    payload: dict[str, PartRef] = {}
    refs: tuple[Ref, ...] = ()
    parties: tuple[str, ...] = ()
    stream: str | msgspec.UnsetType = msgspec.UNSET
    n: Count | msgspec.UnsetType = msgspec.UNSET
    saw: Saw | msgspec.UnsetType = msgspec.UNSET


class Part(msgspec.Struct, frozen=True):
    """A payload part in the clear: the salt that hides it and its bytes."""

    salt: bytes
    data: bytes


class SignedRecord(msgspec.Struct, frozen=True):
    """A record with the bytes that were signed and the signature over them."""

    record: Record
    raw: bytes
    signature: bytes


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(Record)


def format_record(record: Record) -> bytes:
    """Format canonical JSON (RFC 8785, restricted profile)."""
    # `v` equals no default, so omit_defaults never drops a required field.
    return _ENCODER.encode(record)


def parse_record(raw: bytes) -> Record:
    """Parse record bytes; raise :class:`MalformedError` unless they are canonical and bounded."""
    if len(raw) > limits.RECORD_BYTES:
        raise TooLargeError(f"record is {len(raw)} bytes, more than {limits.RECORD_BYTES}")
    try:
        record = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"record is not valid: {error}") from None
    if _ENCODER.encode(record) != raw:
        raise MalformedError("record is not in canonical form (RFC 8785)")
    _check_fields(record)
    return record


def _check_fields(record: Record) -> None:
    ids.check_origin(record.ledger)
    ids.parse_record_id(record.id)
    ids.parse_key(record.author)
    clock.parse_time(record.made_at)
    check_type_name(record.type)
    if len(record.payload) > limits.PAYLOAD_PARTS:
        raise TooLargeError(f"record has more than {limits.PAYLOAD_PARTS} payload parts")
    for name, part in record.payload.items():
        _check_part(name, part)
    if record.refs:
        _check_refs(record.refs)
    if record.parties:
        _check_parties(record.parties)
    if (record.stream is msgspec.UNSET) != (record.n is msgspec.UNSET):
        raise MalformedError("stream and n come together or not at all")
    if isinstance(record.stream, str) and not _STREAM.fullmatch(record.stream):
        raise MalformedError("stream must be 1 to 64 of A-Z a-z 0-9 . _ : -")
    if isinstance(record.saw, Saw):
        ids.check_digest(record.saw.root)


@lru_cache(maxsize=1024)
def check_type_name(name: str) -> None:
    """Raise unless ``name`` is a record type and version, like ``llm.call/1``."""
    if len(name) > limits.STREAM_CHARS or not _TYPE.fullmatch(name):
        raise MalformedError(f"type {name[:60]!r} is not like llm.call/1")


def _check_part(name: str, part: PartRef) -> None:
    _check_part_name(name)
    ids.check_digest(part.commitment)
    _check_media_type(part.media_type)
    if part.size > limits.PAYLOAD_PART_BYTES:
        raise TooLargeError(f"part {name} is larger than {limits.PAYLOAD_PART_BYTES} bytes")


@lru_cache(maxsize=1024)
def _check_part_name(name: str) -> None:
    if not _PART.fullmatch(name):
        raise MalformedError(f"payload part name {name[:60]!r} is not like request_body")


@lru_cache(maxsize=1024)
def _check_media_type(text: str) -> None:
    if len(text) > limits.MEDIA_TYPE_CHARS or not _MEDIA_TYPE.fullmatch(text):
        raise MalformedError(f"media type {text[:60]!r} is not like application/json")


def _check_refs(refs: tuple[Ref, ...]) -> None:
    if len(refs) > limits.REFS:
        raise TooLargeError(f"record has more than {limits.REFS} refs")
    if len(set(refs)) != len(refs):
        raise MalformedError("refs name the same entry twice in the same way")
    for ref in refs:
        ids.check_digest(ref.to)


def _check_parties(parties: tuple[str, ...]) -> None:
    if len(parties) > limits.PARTIES:
        raise TooLargeError(f"record has more than {limits.PARTIES} parties")
    if list(parties) != sorted(set(parties)):
        raise MalformedError("parties must be sorted, each once")
    for party in parties:
        check_party(party)


def check_party(party: str) -> None:
    """Raise unless ``party`` is a key or can be the name of a member."""
    if party.startswith(ids.KEY_PREFIX):
        ids.parse_key(party)
    elif not _MEMBER.fullmatch(party):
        raise MalformedError(f"party {party[:60]!r} is neither a key nor a member's name")


# --- commitment ----------------------------------------------------------------


def commit(salt: bytes, data: bytes) -> bytes:
    """Return SHA-256(tag || salt || uint64 length || data)."""
    return sha256(_COMMITMENT_TAG + salt + len(data).to_bytes(8) + data).digest()


def check_part(name: str, ref: PartRef, part: Part) -> None:
    """Raise :class:`CommitmentError` unless ``part`` is what ``ref`` commits to."""
    if len(part.salt) != SALT_BYTES:
        raise CommitmentError(f"salt of part {name} is not {SALT_BYTES} bytes")
    if len(part.data) != ref.size:
        raise CommitmentError(f"part {name} is {len(part.data)} bytes, the record says {ref.size}")
    if ids.format_digest(commit(part.salt, part.data)) != ref.commitment:
        raise CommitmentError(f"part {name} does not match its commitment")


def make_part(data: bytes, media_type: str, salt: bytes | None = None) -> tuple[PartRef, Part]:
    """Salt and commit to payload bytes."""
    part = Part(salt or secrets.token_bytes(SALT_BYTES), data)
    commitment = ids.format_digest(commit(part.salt, data))
    return PartRef(commitment, media_type, len(data)), part


# --- signature -----------------------------------------------------------------


def pre_authentication_encoding(raw: bytes, payload_type: bytes = PAYLOAD_TYPE) -> bytes:
    """Return what a DSSE signer signs (DSSE protocol, "PAE")."""
    return b"DSSEv1 %d %b %d %b" % (len(payload_type), payload_type, len(raw), raw)


def seal(record: Record, key: ed25519.PrivateKey) -> SignedRecord:
    """Format and sign a record; its author must be ``key``."""
    if record.author != ids.format_key(key.public_key):
        raise MalformedError("a record is sealed with its author's key")
    raw = format_record(record)
    parse_record(raw)
    return SignedRecord(record, raw, key.sign(pre_authentication_encoding(raw)))


def verify_record(signed: SignedRecord) -> None:
    """Raise :class:`SignatureError` unless the record's author signed its bytes."""
    author = ids.parse_key(signed.record.author)
    ed25519.verify(author, pre_authentication_encoding(signed.raw), signed.signature)
