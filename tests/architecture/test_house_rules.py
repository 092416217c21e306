"""House rules that a machine can hold. CONTRIBUTING.md has them all, in words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.house import PACKAGES, ROOT, nodes, source_files, where

LONGEST_FILE = 500
LONGEST_FUNCTION = 60


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_looked_at(package: str) -> None:
    assert any(path.is_relative_to(ROOT / package) for path in source_files())


def test_no_file_is_longer_than_500_lines() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in source_files()}
    assert {path: n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    assert [
        f"{where(path, node)} {node.name}: {length} lines"
        for path, node in nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ] == []


def test_no_error_is_swallowed_unnamed() -> None:
    """A handler for everything has to raise again, log or answer; it never just passes."""
    assert [
        where(path, node)
        for path, node in nodes()
        if isinstance(node, ast.ExceptHandler) and swallows_everything(node)
    ] == []


def swallows_everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    does_nothing = all(
        isinstance(statement, ast.Pass | ast.Continue)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in handler.body
    )
    return does_nothing and bool(caught & {"Exception", "BaseException"})


def test_http_errors_are_raised_nowhere_but_mapped_in_one_table() -> None:
    """The core raises its own errors; api/problems.py turns them into answers."""
    assert [
        where(path, node)
        for path, node in nodes()
        if isinstance(node, ast.Name | ast.Attribute)
        and (node.id if isinstance(node, ast.Name) else node.attr) == "HTTPException"
        and path.relative_to(ROOT) != Path("api/problems.py")
    ] == []


def test_functions_that_check_or_verify_raise_and_return_no_bool() -> None:
    """A forgotten `if` must not turn a refusal into consent."""
    assert [
        f"{where(path, node)} {node.name}"
        for path, node in nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.lstrip("_").split("_")[0] in {"check", "verify"}
        and isinstance(node.returns, ast.Name)
        and node.returns.id == "bool"
    ] == []


def test_no_test_mocks_anything() -> None:
    """A ledger in memory is fast; clock, keys and remote HTTP have fakes of their own."""
    assert [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if any(name.split(".")[:2] == ["unittest", "mock"] for name in imported_by(path))
    ] == []


def imported_by(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
