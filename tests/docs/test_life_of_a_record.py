"""docs/life-of-a-record.md names only what exists, and leaves out no crash point and no table."""

from __future__ import annotations

import re
from typing import Final

import pytest

from ledger_core.fail_points import (
    DESTRUCTION_FAIL_POINTS,
    EPOCH_FAIL_POINTS,
    ERASER_FAIL_POINTS,
    FAIL_POINTS,
)
from ledger_core.records import registry
from ledger_core.storage.tables import metadata
from tests.docs.names import is_code, is_file
from tests.docs.pages import inline_code, read

PAGE: Final = read("docs/life-of-a-record.md")
NAMES: Final = sorted(set(inline_code(PAGE)))

# What is neither ours to define nor a name: SQL, settings of databases, headers, fields, files.
WORDS: Final = {
    "-wal",
    "-shm",
    "BEGIN IMMEDIATE",
    "Retry-After",
    "extra",
    "on",
    "synchronous=FULL",
    "synchronous_commit",
    "ledgergrid doctor",
    "ledgergrid_views",
    "keyring",
    "keys.db",
    "keys.db.lock",
    "ledger.db",
    "ledger.db.erasing",
    "ledger.db.lock",
    "ledger.db.serving",
    "ledger.db.witnessing",
    "ledger.views.db",
    "ledger.views.db.lock",
    "signer.db",
    "signer.db.lock",
}
KNOWN: Final = {
    *WORDS,
    *FAIL_POINTS,
    *EPOCH_FAIL_POINTS,
    *DESTRUCTION_FAIL_POINTS,
    *ERASER_FAIL_POINTS,
    *metadata.tables,
    *(kind.name for kind in registry.ALL),
}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in KNOWN])
def test_every_module_and_function_named_exists(name: str) -> None:
    assert is_file(name) if re.search(r"/|\.py$", name) else is_code(name)


def test_every_crash_point_is_told_with_what_it_leaves_behind() -> None:
    table = PAGE.split("## What a crash leaves behind")[1].split("\n## ")[0]
    points = (*FAIL_POINTS, *DESTRUCTION_FAIL_POINTS, *ERASER_FAIL_POINTS)
    assert [point for point in points if f"`{point}`" not in table] == []
    story = PAGE.split("## What a crash leaves behind")[0]
    assert [point for point in points if f"`{point}`" not in story] == []


def test_every_table_of_ground_truth_is_told() -> None:
    assert [name for name in metadata.tables if f"| `{name}` |" not in PAGE] == []
