"""The registry: what is not in it does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from ledger_core.errors import UnknownTypeError
from ledger_core.formats.record import check_type_name
from ledger_core.records import types
from ledger_core.records.model import RecordType
from ledger_core.records.registry import ALL, find_type

EVERY_TYPE = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)


@EVERY_TYPE
def test_every_type_is_found_by_its_name(kind: RecordType) -> None:
    check_type_name(kind.name)
    assert find_type(kind.name) is kind


def test_every_file_of_a_type_is_in_the_registry() -> None:
    files = {path.stem for path in Path(types.__path__[0]).glob("*.py")} - {"__init__"}
    assert files == {kind.name.partition("/")[0].replace(".", "_") for kind in ALL}


@pytest.mark.parametrize("name", ["note/2", "note", "NOTE/1", "note/1\n", "", "x" * 10_000])
def test_an_unknown_type_or_version_is_refused_and_the_known_ones_are_named(name: str) -> None:
    with pytest.raises(UnknownTypeError, match=r"llm\.call/1"):
        find_type(name)


@EVERY_TYPE
def test_a_type_says_who_writes_it_and_what_it_is(kind: RecordType) -> None:
    assert kind.writers
    assert kind.summary.endswith(".")
    assert any(part.required for part in kind.parts.values())
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name) for name in kind.parts)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in kind.columns)


@EVERY_TYPE
def test_a_json_part_has_a_schema_that_refuses_unknown_fields(kind: RecordType) -> None:
    for part in kind.parts.values():
        if part.is_json:
            schema = msgspec.json.schema(part.schema)
            objects = [x for x in schema.get("$defs", {}).values() if x.get("type") == "object"]
            assert all(each.get("additionalProperties") is False for each in objects)


def test_governance_is_public_and_written_by_operators_alone() -> None:
    governance = [kind for kind in ALL if kind.is_governance]
    assert {kind.name for kind in governance} == {"charter/1", "key/1"}
    for kind in governance:
        assert (kind.audience, kind.writers) == ("public", frozenset({"operator"}))
