"""Entries: what is taken out of a leaf without parsing all of it is what parsing gives."""

from __future__ import annotations

from hypothesis import given

from ledger_core import clock
from ledger_core.formats.entry import Entry, format_entry, look_into, parse_entry
from tests.ledger_core.formats import strategies as made


@given(made.entries)
def test_a_look_into_a_leaf_sees_what_parsing_sees(entry: Entry) -> None:
    leaf = format_entry(entry)
    parsed = parse_entry(leaf)
    assert look_into(leaf) == (clock.format_time(parsed.header.received_at), parsed.record)
