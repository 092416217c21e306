"""The redactor is what the settings say, and settings that make none stop the start."""

from __future__ import annotations

from typing import Any

import pytest

from api.redacting import open_redactor
from api.settings import Settings
from ledger_core.errors import SettingsError

TEXT = "mail a@example.org, card 4111 1111 1111 1111, ticket T-77"


def redact(**chosen: Any) -> str:
    redactor = open_redactor(Settings(**chosen))
    return TEXT if redactor is None else redactor.redact_text(TEXT)[0]


def test_nothing_is_redacted_unless_that_is_asked() -> None:
    assert redact() == TEXT


def test_kinds_are_listed_or_all_of_them() -> None:
    assert redact(redact="email") == TEXT.replace("a@example.org", "[redacted email]")
    assert "4111" not in redact(redact="card, email")
    found = redact(redact="all")
    assert "example.org" not in found and "4111" not in found


def test_patterns_of_ones_own_are_a_json_list() -> None:
    assert redact(redact_patterns='["T-[0-9]{1,9}"]') == TEXT.replace("T-77", "[redacted]")


@pytest.mark.parametrize(
    "chosen",
    [{"redact": "emails"}, {"redact_patterns": "T-[0-9]"}, {"redact_patterns": '{"a": 1}'},
     {"redact_patterns": '["("]'}],
)  # fmt: skip
def test_what_cannot_be_looked_for_stops_the_start(chosen: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        redact(**chosen)
