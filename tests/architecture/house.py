"""The house as the rules see it: its packages, their files and what is written in them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

# What is shipped; tests may be longer and ruder.
PACKAGES: Final = ("ledger_core", "api", "verifier", "migrations", "sdk/ledgergrid")


@functools.cache
def parse(path: Path) -> ast.Module:
    """Read a file into its syntax tree."""
    return ast.parse(path.read_text("utf-8"), str(path))


def source_files() -> list[Path]:
    """Find every Python file that is shipped."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def where(path: Path, node: ast.stmt | ast.expr | ast.excepthandler) -> str:
    """Name a place the way editors open it."""
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Walk through everything that is shipped."""
    for path in source_files():
        for node in ast.walk(parse(path)):
            yield path, node
