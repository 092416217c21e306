"""Ed25519: libsodium's rule, whatever another library would say."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import SignatureError
from ledger_core.formats import ed25519
from tests.ledger_core.formats import strategies as made
from tests.vectors import edwards25519 as curve


@given(made.hashes, st.binary(max_size=100))
def test_another_library_makes_the_same_signatures(seed: bytes, message: bytes) -> None:
    ours, theirs = ed25519.PrivateKey(seed), Ed25519PrivateKey.from_private_bytes(seed)
    assert ours.public_key == theirs.public_key().public_bytes_raw()
    assert ours.sign(message) == theirs.sign(message)
    ed25519.verify(ours.public_key, message, theirs.sign(message))


@given(made.hashes, st.binary(max_size=100), made.hashes)
def test_a_signature_is_for_one_message_and_one_key(
    seed: bytes, message: bytes, other: bytes
) -> None:
    key = ed25519.PrivateKey(seed)
    with pytest.raises(SignatureError):
        ed25519.verify(key.public_key, message + b"!", key.sign(message))
    if other != seed:
        with pytest.raises(SignatureError):
            ed25519.verify(ed25519.PrivateKey(other).public_key, message, key.sign(message))


@given(made.hashes)
def test_32_bytes_are_a_key_or_are_refused_and_nothing_else_happens(raw: bytes) -> None:
    try:
        ed25519.check_public_key(raw)
    except SignatureError:
        return
    x_sign, y = raw[31] >> 7, int.from_bytes(raw, "little") & (1 << 255) - 1
    point = curve.recover(y, x_sign)
    assert y < curve.P
    assert curve.multiply(curve.ORDER, point) == curve.IDENTITY


@given(st.binary(max_size=70), st.binary(max_size=130), st.binary(max_size=10))
def test_keys_and_signatures_of_any_length_are_refused_as_such(
    key: bytes, signature: bytes, message: bytes
) -> None:
    with pytest.raises(SignatureError):
        ed25519.verify(key, message, signature)


def test_new_keys_are_unlike() -> None:
    keys = [ed25519.PrivateKey.generate() for _ in range(100)]
    assert len({key.public_key for key in keys}) == 100
    for key in keys:
        ed25519.check_public_key(key.public_key)


def test_a_private_key_does_not_show_itself() -> None:
    key = ed25519.PrivateKey(b"\x05" * 32)
    assert key.seed.hex() not in repr(key)
    assert repr(key.seed) not in f"{key} {key!r}"
