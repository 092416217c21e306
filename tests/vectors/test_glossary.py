"""The glossary: every word once."""

from __future__ import annotations

import re
from collections import Counter

from tests.vectors.record_types_page import SPEC


def test_no_word_of_the_glossary_is_explained_twice() -> None:
    text = (SPEC.parent / "glossary.md").read_text()
    cells = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    words = Counter(word.strip() for cell in cells for word in cell.split(","))
    del words["word"]
    assert [word for word, times in words.items() if times > 1] == []


def test_the_words_of_the_formats_are_in_the_glossary() -> None:
    text = (SPEC.parent / "glossary.md").read_text()
    for word in (
        "record", "payload", "part", "salt", "commitment", "submission", "entry", "checkpoint",
        "receipt", "charter", "standing", "origin", "segment", "frame", "context entry",
        "range proof", "signer memory", "trust policy", "archive", "quorum",
    ):  # fmt: skip
        assert f"| {word} |" in text, word
