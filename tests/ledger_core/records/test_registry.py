"""The registry: what is not in it does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
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


def named(kinds: Iterable[RecordType]) -> set[str]:
    return {kind.name for kind in kinds}


SAID_BY_ALL = {"endorsement/1", "withdrawal/1", "bundle/1"}
"""How those concerned agree: every key that stands may speak."""

SAID_BY_THE_SERVICE = {"outcome/1", "equivocation/1", "erasure.done/1", "refusal/1"}

CHANGES = {"rollback/1", "redaction/1", "hold/1", "erasure/1"}
"""What alters earlier entries: whoever a ledger lets."""


def test_what_changes_the_constitution_is_governance() -> None:
    constitutional = named(kind for kind in ALL if kind.is_constitutional)
    governance = named(kind for kind in ALL if kind.is_governance)
    assert governance - constitutional == SAID_BY_ALL | SAID_BY_THE_SERVICE | CHANGES
    assert constitutional <= governance


def test_agents_change_nothing_of_the_constitution_but_their_own_key_and_a_ledgers_end() -> None:
    by_agents = named(kind for kind in ALL if kind.is_constitutional and "agent" in kind.writers)
    assert by_agents == {"key.rotation/1", "closing/1"}


def test_a_constitution_is_public_but_for_a_local_ledgers_end() -> None:
    hidden = named(k for k in ALL if k.is_constitutional and k.audience != "public")
    assert hidden == {"closing/1"}


def test_the_charter_the_logs_key_and_verdicts_are_written_by_operators_alone() -> None:
    by_operators = named(
        kind for kind in ALL if kind.is_governance and kind.writers == {"operator"}
    )
    assert by_operators == (
        {"charter/1", "log.key/1", "epoch/1", "retention/1"} | SAID_BY_THE_SERVICE
    )


def test_every_other_governance_type_is_written_by_stewards_as_well() -> None:
    governance = [kind for kind in ALL if kind.is_governance and kind.writers != {"operator"}]
    assert all({"operator", "steward"} <= kind.writers for kind in governance)


def test_everyone_who_stands_may_speak_of_a_proposal() -> None:
    for name in SAID_BY_ALL:
        assert find_type(name).writers == {"operator", "steward", "agent"}
