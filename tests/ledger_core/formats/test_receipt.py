"""Receipts: an author's record, the header inside and a trusted checkpoint are all it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import LedgerGridError, MalformedError, ProofError
from ledger_core.formats import receipt
from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from ledger_core.formats.entry import Entry, Header, format_entry, format_header
from ledger_core.formats.receipt import Receipt
from ledger_core.merkle import tree
from tests.ledger_core.formats import strategies as made
from tests.vectors.build import LOG, ORIGIN, RECEIVED_AT_MS, make_signed

SIZE = 23


def make_leaf(index: int) -> bytes:
    signed = make_signed(index)
    header = Header(ORIGIN, index, bytes(32), RECEIVED_AT_MS, signed.signature)
    return format_entry(Entry(header, signed.raw))


LEAVES = [make_leaf(index) for index in range(SIZE)]
HASHES = [tree.leaf_hash(leaf) for leaf in LEAVES]
GROWTH = tree.Growth(tree.Frontier(), HASHES)
CHECKPOINT = Checkpoint(ORIGIN, SIZE, GROWTH.root)
NOTE = sign_checkpoint(CHECKPOINT, LOG)


def make_receipt(index: int) -> Receipt:
    header = LEAVES[index].partition(b"\n\n")[0] + b"\n\n"
    return Receipt(index, tuple(GROWTH.prove_inclusion(index)), NOTE, header)


def verify(raw: bytes, record: bytes) -> int:
    """Do what an author does who kept only the record, the receipt and the log's key."""
    parsed = receipt.parse_receipt(raw)
    checkpoint = verify_checkpoint(parsed.checkpoint, LOG.public)
    leaf = format_entry(Entry(parsed.header(), record))
    receipt.check_receipt(parsed, leaf, checkpoint)
    return parsed.index


@pytest.mark.parametrize("index", range(SIZE))
def test_every_entry_is_proven_by_its_receipt_and_its_record(index: int) -> None:
    raw = receipt.format_receipt(make_receipt(index))
    assert verify(raw, make_signed(index).raw) == index


@given(
    made.mutations(st.integers(0, SIZE - 1).map(lambda n: receipt.format_receipt(make_receipt(n))))
)
def test_a_spoilt_receipt_is_refused_or_still_proves_the_same_place(raw: bytes) -> None:
    for index in range(SIZE):
        try:
            assert verify(raw, make_signed(index).raw) == index
        except LedgerGridError:
            continue


def test_a_receipt_proves_no_other_record() -> None:
    raw = receipt.format_receipt(make_receipt(4))
    with pytest.raises(ProofError):
        verify(raw, make_signed(5).raw)


def test_a_receipt_is_checked_against_the_checkpoint_the_caller_verified() -> None:
    other = Checkpoint(ORIGIN, SIZE, bytes(32))
    with pytest.raises(ProofError, match="another checkpoint"):
        receipt.check_receipt(make_receipt(4), LEAVES[4], other)


def test_extra_data_that_is_no_header_is_carried_but_not_taken_for_one() -> None:
    of = Receipt(0, (), NOTE, b"\x00opaque")
    again = receipt.parse_receipt(receipt.format_receipt(of))
    assert again == of
    with pytest.raises(MalformedError):
        again.header()


def test_a_header_changed_inside_a_receipt_breaks_the_proof() -> None:
    good = make_receipt(4)
    header = good.header()
    late = Header(
        header.origin, header.index, header.previous, RECEIVED_AT_MS + 1, header.signature
    )
    raw = receipt.format_receipt(Receipt(4, good.hashes, NOTE, format_header(late)))
    with pytest.raises(ProofError):
        verify(raw, make_signed(4).raw)
