"""Signed notes: what counts as signed, and by whom."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import MalformedError, SignatureError, TooLargeError
from ledger_core.formats import note
from ledger_core.formats.note import Note, NoteSignature
from ledger_core.formats.vkey import LogKey
from tests.ledger_core.formats import strategies as made
from tests.vectors.build import LOG, WITNESS

TEXT = b"ledgergrid.example/log1\n1\nAAAA\n"
LINE = LOG.sign(TEXT)


def test_no_kind_of_space_may_stand_in_a_name() -> None:
    spaces = [
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)).startswith("Z") or chr(code) in "\t\n\v\f\r\x85"
    ]
    assert len(spaces) > 20
    for space in spaces:
        with pytest.raises(MalformedError):
            note.check_key_name(f"my{space}log")


@pytest.mark.parametrize("name", ["", "+", "a+b", "a\x00", "a\x1f", "\ud800"])
def test_a_name_that_would_not_stay_one_word_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        note.check_key_name(name)


@given(made.notes)
def test_lines_of_strangers_are_ignored(of: Note) -> None:
    signed = Note(of.text, (*of.signatures, LOG.sign(of.text)))
    assert note.verify_note(note.parse_note(note.format_note(signed)), [LOG.public]) == [LOG.public]
    assert note.verify_note(signed, [WITNESS.public]) == []
    with pytest.raises(SignatureError, match=WITNESS.name):
        note.verify_signed_by(signed, WITNESS.public)


def test_a_namesake_and_a_key_with_the_same_id_are_strangers() -> None:
    namesake = NoteSignature(LOG.name, b"\x00" * 4, LINE.blob)
    same_id = NoteSignature("other.example", LOG.public.key_id, LINE.blob)
    assert note.verify_note(Note(TEXT, (namesake, same_id)), [LOG.public]) == []


def test_one_broken_line_of_a_known_key_sinks_the_note() -> None:
    broken = NoteSignature(LINE.name, LINE.key_id, LINE.blob[::-1])
    for lines in ((broken,), (LINE, broken), (broken, LINE)):
        with pytest.raises(SignatureError):
            note.verify_note(Note(TEXT, lines), [LOG.public])


@given(st.integers(2, 9))
def test_a_line_repeated_is_one_signer(times: int) -> None:
    assert note.verify_note(Note(TEXT, (LINE,) * times), [LOG.public]) == [LOG.public]


def test_one_line_never_counts_for_two_keys() -> None:
    class Twin(LogKey):
        """A key made to share its id with another: 32 bits are found in an hour."""

        @property
        def key_id(self) -> bytes:
            return LOG.public.key_id

    twin = Twin(LOG.name, WITNESS.public.public_key)
    with pytest.raises(SignatureError, match="share"):
        note.verify_note(Note(TEXT, (LINE,)), [LOG.public, twin])


def test_the_last_blank_line_parts_text_from_signatures() -> None:
    inner = Note(TEXT, (LINE,))
    text = note.format_note(inner)
    outer = note.parse_note(note.format_note(Note(text, (LOG.sign(text),))))
    assert outer.text == text
    assert note.parse_note(outer.text) == inner


def test_as_many_signatures_as_c2sp_asks_for_are_taken_and_a_flood_is_not() -> None:
    assert len(note.parse_note(note.format_note(Note(TEXT, (LINE,) * 100))).signatures) == 100
    with pytest.raises(TooLargeError):
        note.parse_note(note.format_note(Note(TEXT, (LINE,) * 101)))
    with pytest.raises(TooLargeError):
        note.parse_note(b"a" * 1_000_001)
