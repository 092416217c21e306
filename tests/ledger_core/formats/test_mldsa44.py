"""ML-DSA-44: what another program signs verifies here, and nothing near it does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import SignatureError
from ledger_core.formats import mldsa44
from ledger_core.formats.vkey import subtree_message
from tests.vectors.notes import TALL, TIME_S
from tests.vectors.post_quantum import PQ_SIGNATURE, PQ_WITNESS

MESSAGE = subtree_message(PQ_WITNESS.name, TALL, TIME_S)
KEY = PQ_WITNESS.private.public_key


def test_a_signature_made_by_another_program_verifies() -> None:
    mldsa44.verify(KEY, MESSAGE, PQ_SIGNATURE)


def test_signing_twice_gives_two_signatures_and_both_verify() -> None:
    one, two = PQ_WITNESS.private.sign(MESSAGE), PQ_WITNESS.private.sign(MESSAGE)
    assert one != two
    for each in (one, two):
        mldsa44.verify(KEY, MESSAGE, each)


@given(st.integers(0, len(PQ_SIGNATURE) * 8 - 1))
def test_no_bit_of_a_signature_can_be_flipped(bit: int) -> None:
    changed = bytearray(PQ_SIGNATURE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        mldsa44.verify(KEY, MESSAGE, bytes(changed))


@given(st.integers(0, len(MESSAGE) * 8 - 1))
def test_no_bit_of_a_message_can_be_flipped(bit: int) -> None:
    changed = bytearray(MESSAGE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        mldsa44.verify(KEY, bytes(changed), PQ_SIGNATURE)


@pytest.mark.parametrize("length", [0, 32, 1311, 1313])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(SignatureError):
        mldsa44.check_public_key(bytes(length))
