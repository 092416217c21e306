"""Words: text and queries are cut alike, whatever is written in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.words import WORD_CHARS, Phrase, fold, phrases


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World-wide 42!", ["hello", "world", "wide", "42"]),
        ("snake_case\tx\0y", ["snake", "case", "x", "y"]),
        ("Crème BRÛLÉE straße ΣΊΣΥΦΟΣ", ["creme", "brulee", "strasse", "σισυφοσ"]),
        ("ｆｕｌｌ ﬁne", ["full", "fine"]),
        ("東京都", ["東京", "京都", "都"]),
        ("한국어", ["한국", "국어", "어"]),
        ("ガ行", ["ガ行", "行"]),
        ("GPT東京tower", ["gpt", "東京", "京", "tower"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("a" * 65 + " b", ["b"]),
    ],
)
def test_text_is_folded_and_cut(text: str, words: list[str]) -> None:
    assert fold(text).split() == words


def test_a_query_asks_for_beginnings_of_long_words_and_for_quoted_ones_as_they_stand() -> None:
    assert phrases('Weath in "New York" foo-bar') == [
        Phrase(("weath",), True),
        Phrase(("in",), False),
        Phrase(("new", "york"), False),
        Phrase(("foo", "bar"), True),
    ]
    assert phrases("東京都 都") == [Phrase(("東京", "京都"), False), Phrase(("都",), True)]
    assert phrases(' "" -- \'; ') == []


@given(st.text())
def test_words_are_letters_digits_and_marks_alone(text: str) -> None:
    for word in fold(text).split():
        assert word
        assert len(word) <= WORD_CHARS
        assert not set(word) & set(" \"'\\:*&|!()<>-")
        assert all(not char.isspace() and char != "\0" for char in word)
        word.encode()


def holds(words: list[str], phrase: Phrase) -> bool:
    """Say what a database says of a phrase."""
    length = len(phrase.words)
    for at in range(len(words) - length + 1):
        some = tuple(words[at : at + length])
        if some == phrase.words:
            return True
        is_begun = phrase.is_prefix and some[-1].startswith(phrase.words[-1])
        if is_begun and some[:-1] == phrase.words[:-1]:
            return True
    return False


@given(st.text(max_size=40), st.text(alphabet="ab 東京都한국é-", max_size=12), st.text(max_size=40))
def test_every_query_finds_the_text_it_was_taken_from(before: str, piece: str, after: str) -> None:
    words = fold(f"{before} {piece} {after}").split()
    for phrase in phrases(piece):
        assert holds(words, phrase), (words, phrase)


@given(st.text(alphabet="東京都庁舎", min_size=1, max_size=9), st.integers(0, 8), st.integers(1, 5))
def test_any_piece_of_a_text_without_spaces_is_found(text: str, at: int, length: int) -> None:
    piece = text[at : at + length]
    for phrase in phrases(piece):
        assert holds(fold(text).split(), phrase)
