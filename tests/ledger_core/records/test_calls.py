"""What the records of calls have in common, and limits laid over settings."""

from __future__ import annotations

import msgspec
import pytest

from ledger_core.records.calls import Identity
from ledger_core.records.registry import find_type
from ledger_core.records.types.capture_limits import CaptureLimits
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_refused import LlmRefused
from ledger_core.records.types.llm_start import LlmStart

SETTINGS = CaptureLimits(rpm_total=5, rpm_user=3, deny_models=("gpt-4",))


def parse(text: bytes) -> CaptureLimits:
    return msgspec.json.decode(text, type=CaptureLimits)


def test_a_limit_that_a_record_leaves_out_is_that_of_the_settings() -> None:
    limits = parse(b'{"rpm_total":7}').over(SETTINGS)
    assert limits == CaptureLimits(rpm_total=7, rpm_user=3, deny_models=("gpt-4",))


def test_null_and_an_empty_list_lift_what_the_settings_say() -> None:
    limits = parse(b'{"rpm_total":null,"deny_models":[]}').over(SETTINGS)
    assert (limits.rpm_total, limits.deny_models, limits.rpm_user) == (None, (), 3)


def test_lifted_and_left_out_are_told_apart_in_what_is_written() -> None:
    assert msgspec.json.encode(parse(b'{"rpm_total":null}')) == b'{"rpm_total":null}'
    assert msgspec.json.encode(CaptureLimits()) == b"{}"


@pytest.mark.parametrize("made", [LlmStart, LlmCall2, LlmRefused])
def test_every_record_of_a_call_says_who_asked_for_what(made: type[Identity]) -> None:
    assert made.__struct_fields__[: len(Identity.__struct_fields__)] == Identity.__struct_fields__


@pytest.mark.parametrize("name", ["llm.start/1", "llm.call/2", "llm.refused/1"])
def test_records_of_a_call_are_about_its_user_and_its_session(name: str) -> None:
    kind = find_type(name)
    part = kind.viewed_parts[0]
    call = Identity(action_id="a", timestamp="t", provider="p", user_id="u", session_id="s")
    assert kind.subjects({part: call}) == ("user:u", "session:s")
