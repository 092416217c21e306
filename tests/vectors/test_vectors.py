"""The vectors under docs/spec: written as their generators write them, judged as they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vectors.__main__ import FILES, write_file
from tests.vectors.build import FOLDER
from tests.vectors.judge import OPERATIONS, judge


def load(page: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((FOLDER / f"{page}.json").read_bytes())["cases"]
    return cases


def verdict(case: dict[str, Any]) -> str:
    outcome, gives = judge(case)
    if outcome == "accepted" and gives != case.get("gives", gives):
        return f"accepted, but gives {gives}"
    return outcome


@pytest.mark.parametrize("page", FILES)
def test_every_vector_gets_the_verdict_it_names(page: str) -> None:
    misjudged = [
        f"{case['name']}: {found}, expected {expected}"
        for case in load(page)
        for expected in [case.get("refused", "accepted")]
        if (found := verdict(case)) != expected
    ]
    assert not misjudged, "\n".join(misjudged)


@pytest.mark.parametrize("page", FILES)
def test_a_vector_file_is_what_its_generator_writes(page: str) -> None:
    written = (FOLDER / f"{page}.json").read_text()
    assert written == write_file(page), "run `python -m tests.vectors`, and look at the difference"


def test_there_is_no_vector_file_without_a_generator() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(FILES)


def test_every_operation_has_a_vector() -> None:
    assert {case["does"] for page in FILES for case in load(page)} == set(OPERATIONS)


@pytest.mark.parametrize("page", FILES)
def test_every_file_accepts_something_and_refuses_something(page: str) -> None:
    assert {"refused" in case for case in load(page)} == {True, False}
