"""Answers are cut to size, and say so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.mcp.bounds import cut_to_fit
from ledger_core.errors import TooLargeError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=600),
    lambda below: st.lists(below, max_size=5) | st.dictionaries(st.text(max_size=5), below),
    max_leaves=20,
)


@given(JSON, st.integers(100, 3000))
def test_an_answer_fits_or_is_refused(said: Any, limit: int) -> None:
    try:
        cut = cut_to_fit(said, limit)
    except TooLargeError:
        assert len(msgspec.json.encode(said)) > limit
        return
    assert len(msgspec.json.encode(cut)) <= limit
    if len(msgspec.json.encode(said)) <= limit:
        assert cut == said


def test_a_cut_says_how_much_is_missing() -> None:
    cut = cut_to_fit({"messages": ["x" * 5_000, "short"], "tokens": 7}, 2_000)
    assert cut["tokens"] == 7
    assert cut["messages"][1] == "short"
    assert cut["messages"][0] == "x" * 1_000 + "… (4000 more characters)"


def test_too_many_things_are_refused_not_dropped() -> None:
    with pytest.raises(TooLargeError, match="fewer items"):
        cut_to_fit(list(range(10_000)), 1_000)
