"""The reference pages say what the code says."""

from __future__ import annotations

import pytest

from api.reference import FOLDER, pages
from api.routes.entries import COLUMNS, Filters
from ledger_core.records import registry


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    written = (FOLDER / name).read_text("utf-8")
    assert written == pages()[name], "run: python -m api.reference"


def test_every_command_and_option_says_what_it_does() -> None:
    text = pages()["cli.md"]
    assert [line for line in text.splitlines() if line.endswith(("`: ", "`:"))] == []
    for command in ("serve", "keygen", "ledger create", "key register", "append", "token create"):
        assert f"## `ledgergrid {command}`" in text


def test_no_column_of_a_record_type_hides_behind_a_filter_of_every_entry() -> None:
    assert COLUMNS.keys() & Filters.model_fields.keys() == set()


def test_a_column_means_the_same_kind_of_value_in_every_type() -> None:
    for kind in registry.ALL:
        for name, of in kind.columns.items():
            assert COLUMNS[name] == of, (kind.name, name)
