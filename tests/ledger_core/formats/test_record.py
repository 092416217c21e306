"""The record: canonical to the byte, committed to its payload, signed as DSSE."""

from __future__ import annotations

import json

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from ledger_core import ids
from ledger_core.errors import CommitmentError, MalformedError, SignatureError, TooLargeError
from ledger_core.formats import ed25519, record
from ledger_core.formats.record import Part, Record, SignedRecord
from tests.ledger_core.formats import strategies as made
from tests.vectors.build import AGENT, OPERATOR, make_record

PAYLOAD_TYPE = record.PAYLOAD_TYPE.decode()


@settings(max_examples=100)
@given(made.records())
def test_our_canonical_form_is_that_of_rfc_8785(of: Record) -> None:
    raw = record.format_record(of)
    assert rfc8785.dumps(json.loads(raw)) == raw


def test_bytes_in_another_order_are_another_record_and_refused() -> None:
    raw = record.format_record(make_record())
    respelled = json.dumps(json.loads(raw), sort_keys=False, indent=1).encode()
    with pytest.raises(MalformedError, match="canonical"):
        record.parse_record(respelled)


def test_errors_name_the_field_that_is_wrong() -> None:
    with pytest.raises(MalformedError, match="stream and n"):
        record.parse_record(record.format_record(make_record(stream="run")))
    with pytest.raises(MalformedError, match="parties must be sorted"):
        record.parse_record(record.format_record(make_record(parties=("b", "a"))))


def test_a_record_that_fills_its_limit_still_fits_into_an_entry() -> None:
    refs = tuple(record.Ref("causes", ids.format_digest(bytes([n]) * 32)) for n in range(64))
    parties = tuple(sorted(ids.format_key(bytes([n]) * 32) for n in range(64)))
    raw = record.format_record(make_record(refs=refs, parties=parties, ledger="x" * 200))
    record.parse_record(raw)
    with pytest.raises(TooLargeError):
        record.parse_record(raw + b" " * 60_000)


# --- commitments --------------------------------------------------------------


@given(st.binary(max_size=100), made.hashes, made.hashes)
def test_the_same_payload_under_another_salt_is_another_commitment(
    data: bytes, salt: bytes, other: bytes
) -> None:
    assert (record.commit(salt, data) == record.commit(other, data)) == (salt == other)


def test_a_part_made_twice_has_two_salts() -> None:
    (one, first), (other, second) = (record.make_part(b"data", "text/plain") for _ in range(2))
    assert first.salt != second.salt
    assert one.commitment != other.commitment
    record.check_part("body", one, first)
    with pytest.raises(CommitmentError):
        record.check_part("body", one, second)


@given(st.binary(min_size=1, max_size=64), st.integers(0, 511))
def test_a_part_with_any_bit_changed_breaks_its_commitment(data: bytes, bit: int) -> None:
    ref, part = record.make_part(data, "text/plain")
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    with pytest.raises(CommitmentError):
        record.check_part("body", ref, Part(part.salt, bytes(changed)))


def test_a_broken_commitment_does_not_repeat_the_payload() -> None:
    ref, part = record.make_part(b"secret words", "text/plain")
    with pytest.raises(CommitmentError) as caught:
        record.check_part("body", ref, Part(part.salt, b"SECRET WORDS"))
    assert "secret" not in str(caught.value).lower()


# --- signatures ---------------------------------------------------------------


@given(made.records(), made.hashes)
def test_a_sealed_record_opens_with_its_authors_key_alone(of: Record, seed: bytes) -> None:
    key = ed25519.PrivateKey(seed)
    fields = {name: getattr(of, name) for name in of.__struct_fields__}
    signed = record.seal(Record(**{**fields, "author": ids.format_key(key.public_key)}), key)
    record.verify_record(signed)
    assert record.parse_record(signed.raw) == signed.record


def test_sealing_twice_gives_the_same_bytes() -> None:
    assert record.seal(make_record(), AGENT) == record.seal(make_record(), AGENT)


def test_nobody_seals_in_anothers_name() -> None:
    with pytest.raises(MalformedError, match="author's key"):
        record.seal(make_record(), OPERATOR)


def test_what_is_sealed_can_be_parsed_or_is_not_sealed() -> None:
    with pytest.raises(MalformedError):
        record.seal(make_record(kind="Note/1"), AGENT)


@given(st.integers(0, 511))
def test_a_signature_with_any_bit_changed_is_refused(bit: int) -> None:
    signed = record.seal(make_record(), AGENT)
    changed = bytearray(signed.signature)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        record.verify_record(SignedRecord(signed.record, signed.raw, bytes(changed)))


# --- DSSE, by a library of others ------------------------------------------------


def dsse_signer(key: ed25519.PrivateKey) -> CryptoSigner:
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(key.seed))


def dsse_key(key: ed25519.PrivateKey) -> SSlibKey:
    public = dsse_signer(key).public_key
    assert isinstance(public, SSlibKey)
    return public


def test_a_dsse_library_verifies_what_we_sign() -> None:
    signed = record.seal(make_record(), AGENT)
    key = dsse_key(AGENT)
    signature = {"keyid": key.keyid, "sig": signed.signature.hex()}
    envelope = Envelope.from_dict(
        {
            "payload": ids.encode_base64(signed.raw),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{**signature, "sig": ids.encode_base64(signed.signature)}],
        }
    )
    assert envelope.verify([key], 1) == {key.keyid: key}
    assert envelope.pae() == record.pre_authentication_encoding(signed.raw)
    with pytest.raises(VerificationError):
        envelope.verify([dsse_key(OPERATOR)], 1)


def test_we_verify_what_a_dsse_library_signs() -> None:
    raw = record.format_record(make_record())
    envelope = Envelope(raw, PAYLOAD_TYPE, {})
    made_by_others = bytes.fromhex(envelope.sign(dsse_signer(AGENT)).signature)
    record.verify_record(SignedRecord(record.parse_record(raw), raw, made_by_others))
    assert made_by_others == record.seal(make_record(), AGENT).signature


def test_a_dsse_signature_for_another_payload_type_is_refused() -> None:
    raw = record.format_record(make_record())
    envelope = Envelope(raw, "application/json", {})
    other = bytes.fromhex(envelope.sign(dsse_signer(AGENT)).signature)
    with pytest.raises(SignatureError):
        record.verify_record(SignedRecord(record.parse_record(raw), raw, other))
