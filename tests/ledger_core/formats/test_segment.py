"""Sealed segments: what goes in comes out, each item is proven, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import limits
from ledger_core.errors import MalformedError, ProofError, TooLargeError
from ledger_core.formats.segment import (
    check_item,
    format_items,
    parse_items,
    prove_item,
    root_of,
)

items = st.lists(st.binary(max_size=40), min_size=1, max_size=40)


@given(items)
def test_items_come_back_as_they_were_sealed(sealed: list[bytes]) -> None:
    assert list(parse_items(format_items(sealed))) == sealed


@given(items, st.data())
def test_every_item_is_proven_in_its_own_place_and_in_no_other(
    sealed: list[bytes], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.integers(0, len(sealed) - 1))
    root, proof = root_of(sealed), prove_item(sealed, place)
    check_item(sealed[place], place, len(sealed), root, proof)
    if sealed[other] != sealed[place]:
        with pytest.raises(ProofError):
            check_item(sealed[other], place, len(sealed), root, proof)
    with pytest.raises(ProofError):
        check_item(sealed[place] + b"!", place, len(sealed), root, proof)


@given(items)
def test_an_item_beyond_the_last_has_no_proof(sealed: list[bytes]) -> None:
    with pytest.raises(ProofError):
        prove_item(sealed, len(sealed))


@pytest.mark.parametrize("data", ["00", "0001", "000361", "0000ff"])
def test_a_part_that_ends_in_the_middle_of_an_item_is_malformed(data: str) -> None:
    with pytest.raises(MalformedError):
        parse_items(bytes.fromhex(data))


def test_an_item_is_as_long_as_its_length_can_say_and_items_are_bounded() -> None:
    longest = b"x" * limits.ENTRY_BYTES
    assert list(parse_items(format_items([longest]))) == [longest]
    with pytest.raises(TooLargeError):
        format_items([longest + b"x"])
    with pytest.raises(TooLargeError):
        format_items([b""] * (limits.SEGMENT_ITEMS + 1))
    with pytest.raises(TooLargeError):
        parse_items(b"\x00\x00" * (limits.SEGMENT_ITEMS + 1))
