"""Imports go the way the architecture draws them, and whoever goes another way is caught."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.house import PACKAGES, ROOT

LINTER: Final = Path(sys.executable).with_name("lint-imports")

# What an auditor's machine does not have, and the verifier must not ask for.
SERVER_ONLY: Final = {
    "alembic",
    "fastapi",
    "httpx",
    "ledger_core.storage",
    "psycopg",
    "pydantic",
    "sqlalchemy",
    "starlette",
    "uvicorn",
}


def lint_imports(house: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINTER, "--no-cache", "--config", house / "pyproject.toml"],
        cwd=house,
        env={**os.environ, "PYTHONPATH": f"{house}{os.pathsep}{house / 'sdk'}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def copy_of_the_house(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_go_down_only() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("importer", "imported", "contract"),
    [
        ("verifier", "sqlalchemy", "The verifier reaches no database"),
        ("verifier", "socket", "The verifier reaches no database"),
        ("verifier", "ledger_core.storage", "Verifier and SDK reach nothing"),
        ("sdk/ledgergrid", "ledger_core.storage", "Verifier and SDK reach nothing"),
        ("sdk/ledgergrid", "api", "The server stands on the tools"),
        ("ledger_core/formats", "httpx", "Pure rooms do no input"),
        ("ledger_core/merkle", "ledger_core.formats", "In the core, imports go down only"),
        ("ledger_core/storage", "api", "The server stands on the tools"),
        ("api", "sqlalchemy", "Only storage, key store and migrations speak SQL"),
        ("verifier", "ledger_core.keystore", "Verifier and SDK reach nothing"),
    ],
)
def test_a_forbidden_import_is_caught(
    copy_of_the_house: Path, importer: str, imported: str, contract: str
) -> None:
    (copy_of_the_house / importer / "smuggler.py").write_text(f"import {imported}\n")
    result = lint_imports(copy_of_the_house)
    assert result.returncode == 1, result.stderr
    broken = [line for line in result.stdout.splitlines() if "BROKEN" in line]
    assert any(line.startswith(contract) for line in broken), result.stdout


def test_the_verifier_loads_without_the_server() -> None:
    """Contracts read the source; this looks at what Python really loads."""
    script = "import sys, verifier.__main__; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "verifier.__main__" in loaded
    assert sorted(set(loaded) & SERVER_ONLY) == []
