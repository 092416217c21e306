"""Sealed parts open to what was sealed, under their own key and commitment, and to nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_aead_aes256gcm_encrypt

from ledger_core.errors import IntegrityError
from ledger_core.formats.record import SALT_BYTES, Part
from ledger_core.formats.sealed import (
    KEY_BYTES,
    NONCE_BYTES,
    OVERHEAD_BYTES,
    TAG_BYTES,
    open_part,
    seal_part,
)

KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
COMMITMENTS = st.binary(min_size=32, max_size=32)
NONCE = bytes(range(NONCE_BYTES))
PARTS = st.builds(Part, st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES), st.binary())


@given(part=PARTS, key=KEYS, commitment=COMMITMENTS)
def test_what_is_sealed_opens_to_the_same_bytes(part: Part, key: bytes, commitment: bytes) -> None:
    sealed = seal_part(part, key, commitment, NONCE)
    assert open_part(sealed, key, commitment) == part
    assert len(sealed) == len(part.data) + OVERHEAD_BYTES
    assert OVERHEAD_BYTES == NONCE_BYTES + SALT_BYTES + TAG_BYTES


@given(part=PARTS, key=KEYS, commitment=COMMITMENTS, data=st.data())
def test_no_bit_of_it_can_be_changed(
    part: Part, key: bytes, commitment: bytes, data: st.DataObject
) -> None:
    sealed = bytearray(seal_part(part, key, commitment, NONCE))
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(IntegrityError):
        open_part(bytes(sealed), key, commitment)


@given(part=PARTS, key=KEYS, commitment=COMMITMENTS, cut=st.integers(min_value=0))
def test_nothing_can_be_cut_off_it(part: Part, key: bytes, commitment: bytes, cut: int) -> None:
    sealed = seal_part(part, key, commitment, NONCE)
    with pytest.raises(IntegrityError):
        open_part(sealed[: cut % len(sealed)], key, commitment)


@given(part=PARTS, key=KEYS, other=KEYS, commitment=COMMITMENTS)
def test_no_other_key_opens_it(part: Part, key: bytes, other: bytes, commitment: bytes) -> None:
    sealed = seal_part(part, key, commitment, NONCE)
    if other != key:
        with pytest.raises(IntegrityError):
            open_part(sealed, other, commitment)


@given(part=PARTS, key=KEYS, commitment=COMMITMENTS, other=COMMITMENTS)
def test_it_opens_in_no_other_place(
    part: Part, key: bytes, commitment: bytes, other: bytes
) -> None:
    sealed = seal_part(part, key, commitment, NONCE)
    if other != commitment:
        with pytest.raises(IntegrityError):
            open_part(sealed, key, other)


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(31), bytes(33)])
def test_a_key_of_another_length_opens_nothing(key: bytes) -> None:
    sealed = seal_part(Part(bytes(SALT_BYTES), b"x"), bytes(KEY_BYTES), bytes(32), NONCE)
    with pytest.raises(IntegrityError, match="length"):
        open_part(sealed, key, bytes(32))


def test_a_sealed_part_begins_with_its_nonce_and_says_nothing_else() -> None:
    part, key = Part(bytes(SALT_BYTES), b"the same"), bytes(KEY_BYTES)
    sealed = [seal_part(part, key, bytes(32), bytes([n]) * NONCE_BYTES) for n in range(2)]
    assert [each[:NONCE_BYTES] for each in sealed] == [bytes(NONCE_BYTES), b"\1" * NONCE_BYTES]
    assert sealed[0][NONCE_BYTES:] != sealed[1][NONCE_BYTES:]


def test_sealing_is_aead_aes_256_gcm_and_nothing_of_our_own() -> None:
    """RFC 5116 section 5.2, by another implementation: libsodium's."""
    part = Part(bytes(range(SALT_BYTES)), b"hello")
    sealed = seal_part(part, bytes(range(KEY_BYTES)), b"c" * 32, NONCE)
    other = crypto_aead_aes256gcm_encrypt(
        part.salt + part.data, b"c" * 32, NONCE, bytes(range(KEY_BYTES))
    )
    assert sealed == NONCE + other
