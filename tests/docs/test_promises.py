"""docs/reference/promises.md: every promise is held by tests, and every test named is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Final

import pytest

from tests.docs.pages import ROOT, read

PAGE: Final = read("docs/reference/promises.md")
NAMED: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@cache
def find_tests(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_holds_a_promise_exists(path: str, name: str) -> None:
    assert name in find_tests(path)


def test_every_promise_has_a_test_that_holds_it() -> None:
    promises = re.split(r"^## ", PAGE.split("\n## Not promised")[0], flags=re.MULTILINE)[1:]
    assert len(promises) >= 6
    assert [each.splitlines()[0] for each in promises if "::test_" not in each] == []
