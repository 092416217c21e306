"""Standing: who may write what, at which index, told by governance entries alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import StandingError
from ledger_core.policy.standing import KeyStanding, changes_of, check_standing
from ledger_core.records.registry import ALL, find_type
from ledger_core.records.types.charter import CHARTER_1, Charter, FoundingKey
from ledger_core.records.types.key import KEY_1, Register, Revoke
from ledger_core.records.types.note import NOTE_1

OPERATOR, AGENT, OTHER = "ed25519:operator", "ed25519:agent", "ed25519:other"


class Replay:
    """The keys of a ledger after each of its governance entries, as a verifier follows them."""

    def __init__(self) -> None:
        self.keys: dict[str, KeyStanding] = {}
        founders = (FoundingKey(OPERATOR, ("operator",)), FoundingKey(AGENT, ("agent",)))
        self.add(CHARTER_1, Charter("origin", "private", "", founders), 0)

    def add(self, kind: Any, body: Any, index: int) -> None:
        for change in changes_of(kind, {"body": body}, index, self.keys):
            self.keys[change.key] = change

    def may_write(self, key: str, index: int, kind: Any = NOTE_1) -> bool:
        try:
            check_standing(self.keys.get(key), kind, index)
        except StandingError:
            return False
        return True


def test_founding_keys_stand_from_the_entry_after_the_charter() -> None:
    replay = Replay()
    assert replay.may_write(AGENT, 1)
    assert replay.may_write(OPERATOR, 1, KEY_1)
    assert not replay.may_write(AGENT, 1, KEY_1)
    assert not replay.may_write(OTHER, 1)


def test_a_registered_key_stands_from_the_next_entry_on() -> None:
    replay = Replay()
    replay.add(KEY_1, Register(OTHER, ("agent",), "…"), 5)
    assert [replay.may_write(OTHER, index) for index in (4, 5, 6, 1000)] == [
        False,
        False,
        True,
        True,
    ]


def test_a_revoked_key_does_not_stand_after_its_revocation_and_did_before() -> None:
    replay = Replay()
    replay.add(KEY_1, Revoke(AGENT, "compromised"), 9)
    assert [replay.may_write(AGENT, index) for index in (1, 8, 9, 10, 1000)] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_key_still_stands_at_the_entry_that_revokes_it() -> None:
    replay = Replay()
    assert replay.may_write(OPERATOR, 9, KEY_1)
    replay.add(KEY_1, Revoke(OPERATOR, "retired"), 9)
    assert not replay.may_write(OPERATOR, 10, KEY_1)


def test_a_key_is_registered_once_for_ever() -> None:
    replay = Replay()
    for key in (AGENT, OPERATOR):
        with pytest.raises(StandingError, match="registered before"):
            replay.add(KEY_1, Register(key, ("operator",), "…"), 5)
    replay.add(KEY_1, Revoke(AGENT, "lost"), 6)
    with pytest.raises(StandingError, match="stays revoked"):
        replay.add(KEY_1, Register(AGENT, ("agent",), "…"), 7)


def test_only_a_key_that_stands_can_be_revoked_and_once() -> None:
    replay = Replay()
    with pytest.raises(StandingError, match="can be revoked"):
        replay.add(KEY_1, Revoke(OTHER, "lost"), 5)
    replay.add(KEY_1, Revoke(AGENT, "lost"), 6)
    with pytest.raises(StandingError, match="can be revoked"):
        replay.add(KEY_1, Revoke(AGENT, "lost"), 7)


def test_a_refused_change_changes_nothing() -> None:
    replay = Replay()
    before = dict(replay.keys)
    with pytest.raises(StandingError):
        replay.add(KEY_1, Register(AGENT, ("operator",), "…"), 5)
    assert replay.keys == before


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_entry_0_is_a_charter_and_no_other_entry_is(kind: Any) -> None:
    operator = KeyStanding(OPERATOR, frozenset({"operator"}), since=-1)
    for index in (0, 1, 2**40):
        if (kind is CHARTER_1) != (index == 0):
            with pytest.raises(StandingError, match="charter"):
                check_standing(operator, kind, index)
        else:
            check_standing(operator, kind, index)


@pytest.mark.parametrize(
    "kind", [kind for kind in ALL if kind is not CHARTER_1], ids=lambda k: k.name
)
def test_a_type_is_written_by_the_roles_it_names_and_no_other(kind: Any) -> None:
    for role in ("operator", "agent"):
        key = KeyStanding(AGENT, frozenset({role}), since=0)
        if role in kind.writers:
            check_standing(key, kind, 1)
        else:
            with pytest.raises(StandingError, match="written by"):
                check_standing(key, kind, 1)


@given(st.integers(0, 50), st.none() | st.integers(0, 50), st.integers(1, 60))
def test_a_key_stands_between_its_registration_and_its_revocation(
    since: int, revoked: int | None, index: int
) -> None:
    key = KeyStanding(AGENT, frozenset({"agent"}), since, revoked)
    if since < index and (revoked is None or index <= revoked):
        check_standing(key, NOTE_1, index)
    else:
        with pytest.raises(StandingError):
            check_standing(key, NOTE_1, index)


def test_types_that_govern_nothing_change_no_standing() -> None:
    for kind in ALL:
        if not kind.is_governance:
            assert list(changes_of(find_type(kind.name), {}, 5, {})) == []
