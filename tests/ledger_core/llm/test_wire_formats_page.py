"""docs/reference/wire-formats.md names every wire format and says the bounds that hold."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from ledger_core import limits
from ledger_core.llm import estimate, wire
from ledger_core.llm.patterns import KINDS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "wire-formats.md"
FRAME = Path(__file__).resolve().parents[3] / "docs" / "spec" / "frame.md"


@pytest.mark.parametrize("name", get_args(wire.Wire))
def test_every_wire_format_has_its_row(name: str) -> None:
    assert f"| `{name}` |" in PAGE.read_text()


@pytest.mark.parametrize(
    "bound",
    [
        limits.LLM_BODY_BYTES,
        limits.LLM_DEPTH,
        limits.LLM_VALUES,
        limits.LLM_EVENT_BYTES,
        limits.LLM_CODINGS,
        limits.PATTERN_STEPS,
        estimate.DEFAULT_OUTPUT_TOKENS,
    ],
)
def test_the_page_says_the_bounds_that_hold(bound: int) -> None:
    assert f"{bound:,}" in PAGE.read_text()


def test_the_specification_says_the_bounds_of_frames() -> None:
    assert f"1 to {limits.FRAME_DEPTH}" in FRAME.read_text()
    assert f"{limits.LLM_BODY_BYTES:,}" in FRAME.read_text()


def test_the_page_tells_of_all_that_is_redacted() -> None:
    text = PAGE.read_text()
    told = {"key": "API keys", "email": "e-mail addresses", "card": "card numbers", "ssn": "social"}
    assert {*told, "ip"} == KINDS.keys()
    assert all(words in text for words in told.values())
