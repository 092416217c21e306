"""Words: what text is found by, the same on every database.

Text is folded here, case and accents away, and cut into words; databases only keep and compare
them. Scripts that write no spaces between words are cut into pairs of neighbouring characters,
and the last character of a run stands alone as well: so any piece of such a text is found, from
one character on.

>>> fold("Crème BRÛLÉE, 東京都 no. 7")
'creme brulee 東京 京都 都 no 7'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

WORD_CHARS = 64
"""A longer word is none: pictures and keys come as one of thousands of characters."""
_PHRASES = 16
_PREFIX_CHARS = 3
"""Shorter words are found whole only: nearly every text has one that begins with an ``a``."""

_DENSE = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005\u3040-\u30ff\u3100-\u318f"
    "\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Thai to Khmer, Japanese, Chinese, Korean."""
_RUNS = re.compile(f"[{_DENSE}]+|[^{_DENSE}]+")
_IS_DENSE = re.compile(f"[{_DENSE}]")
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u1dc0-\u1dff\u20d0-\u20ff]+")
_QUOTED = re.compile(r'"([^"]*)"|(\S+)')
_ALL_SHORT = re.compile(rb"(?:[^ ]{0,%d}+ )*+[^ ]{0,%d}+" % (WORD_CHARS, WORD_CHARS)).fullmatch
_ASCII = bytes(ord(chr(c).lower()) if c < 128 and chr(c).isalnum() else 32 for c in range(256))


class _Spaces(dict[int, int]):
    """Maps what is no part of a word to a space; fills as characters are met."""

    def __missing__(self, char: int) -> int:
        kept = unicodedata.category(chr(char))[0] in "LNM"
        self[char] = char if kept else 32
        return self[char]


_SPACES = _Spaces()


class Phrase(NamedTuple):
    """Words that stand next to each other; with ``is_prefix`` the last one may go on."""

    words: tuple[str, ...]
    is_prefix: bool


def fold(text: str) -> str:
    """Return the words of a text in their order, with spaces between them."""
    if not text.isascii():
        return " ".join([word for run in _cut(text) for word in _index(run)])
    plain = text.encode().translate(_ASCII)
    if not _ALL_SHORT(plain):
        plain = b" ".join([word for word in plain.split() if len(word) <= WORD_CHARS])
    return plain.strip().decode()


def _cut(text: str) -> Iterator[str]:
    """Yield runs of one kind of script."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = _ACCENTS.sub("", unicodedata.normalize("NFD", folded))
    for word in unicodedata.normalize("NFC", bare).translate(_SPACES).split():
        yield from _RUNS.findall(word)


def _index(run: str) -> Iterator[str]:
    if not _IS_DENSE.match(run):
        if len(run) <= WORD_CHARS:
            yield run
        return
    for at in range(len(run) - 1):
        yield run[at : at + 2]
    yield run[-1]


def phrases(query: str) -> list[Phrase]:
    """Return what a text must have, all of it, to be found by a query.

    What stands in quotes is found as it stands; other words may be beginnings of words.
    """
    found: list[Phrase] = []
    for quoted, word in _QUOTED.findall(query):
        runs = list(_cut(quoted or word))
        if quoted and not any(_IS_DENSE.match(run) for run in runs):
            found.append(Phrase(tuple(run for run in runs if len(run) <= WORD_CHARS), False))
        elif quoted or len(runs) == 1 or any(_IS_DENSE.match(run) for run in runs):
            found += [_asked(run, may_go_on=not quoted) for run in runs]
        else:
            last = runs[-1] if runs else ""
            found.append(Phrase(tuple(runs), len(last) >= _PREFIX_CHARS))
    return [each for each in found if each.words][:_PHRASES]


def _asked(run: str, *, may_go_on: bool) -> Phrase:
    if not _IS_DENSE.match(run):
        return Phrase((run[:WORD_CHARS],), may_go_on and len(run) >= _PREFIX_CHARS)
    if len(run) == 1:
        return Phrase((run,), True)
    return Phrase(tuple(run[at : at + 2] for at in range(len(run) - 1)), False)
