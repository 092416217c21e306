"""Standing after any history: what a rescan of the whole history finds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import StandingError
from ledger_core.policy.amending import apply
from ledger_core.policy.constitution import Constitution
from ledger_core.records.possession import HeldKey
from ledger_core.records.registry import find_type
from ledger_core.records.rules import AudienceSetting
from ledger_core.records.types.charter import Charter, FoundingKey, FoundingMember
from ledger_core.records.types.key import Register, Revoke
from ledger_core.records.types.key_rotation import KeyRotation
from ledger_core.records.types.member import Admit, Grant, Remove, Resume, Suspend, Withdraw
from ledger_core.records.types.note import NOTE_1

MEMBERS = ("acme", "birch", "cobalt")
KEYS = tuple(f"k{number}" for number in range(6))
ROLES = ("auditor", "clerk")
CHARTER = Charter(
    origin="o",
    kind="private",
    log_key="log",
    keys=(FoundingKey("op", ("operator",)), FoundingKey("k0", ("agent",), "acme")),
    members=(FoundingMember("acme", ("auditor",)),),
)

members, keys, roles = map(st.sampled_from, (MEMBERS, KEYS, ROLES))
one_key = keys.map(lambda key: (HeldKey(key, ("agent",), ""),))
changes = st.one_of(
    st.builds(Admit, members, one_key, st.sets(roles).map(lambda some: tuple(sorted(some)))),
    st.builds(Suspend, members),
    st.builds(Resume, members),
    st.builds(Remove, members),
    st.builds(Grant, members, roles),
    st.builds(Withdraw, members, roles),
    st.builds(Register, keys, st.just(("agent",)), st.just(""), st.none() | members),
    st.builds(Revoke, keys, st.just("lost")),
    st.builds(lambda old, new: (old, KeyRotation(new, "")), keys, keys),
    st.none(),
)
"""A change, a rotation with its author, or an entry that changes nothing."""

History = list[tuple[int, str, Any]]
"""What took effect: index, author, change."""

TYPES: dict[type, str] = {Register: "key/1", Revoke: "key/1", KeyRotation: "key.rotation/1"}


def enact(constitution: Constitution, history: History, index: int, drawn: Any) -> None:
    """Apply a change if it can be made, and write it down."""
    author, change = drawn if isinstance(drawn, tuple) else ("op", drawn)
    if change is None or not (author == "op" or constitution.stands_at(author, index)):
        return
    kind = find_type(TYPES.get(type(change), "member/1"))
    try:
        apply(constitution, kind, {"body": change}, author, index)
    except StandingError:
        return
    history.append((index, author, change))


def member_at(history: History, name: str, index: int) -> tuple[str, set[str]]:
    """Say how a member is, by reading the history from its beginning."""
    status, held = ("admitted", {"auditor"}) if name == "acme" else ("unknown", set())
    for _, _, change in [each for each in history if each[0] < index]:
        if getattr(change, "member", None) != name or isinstance(change, Register):
            continue
        match change:
            case Admit():
                status, held = "admitted", set(change.roles)
            case Suspend():
                status = "suspended"
            case Resume():
                status = "admitted"
            case Remove():
                status, held = "removed", set()
            case Grant():
                held = held | {change.role}
            case Withdraw():
                held = held - {change.role}
    return status, held


def key_at(history: History, name: str, index: int) -> tuple[bool, str | None]:
    """Say whether a key is registered and not revoked, and whose it is."""
    found, member = (name == "k0", "acme" if name == "k0" else None)
    for _, author, change in [each for each in history if each[0] < index]:
        match change:
            case Register(key=key) if key == name:
                found, member = True, change.member
            case Admit() if name in {held.key for held in change.keys}:
                found, member = True, change.member
            case Revoke(key=key) if key == name:
                found = False
            case KeyRotation() if author == name:
                found = False
            case KeyRotation(key=key) if key == name:
                found, member = True, key_at(history, author, index)[1]
    return found, member


@given(st.lists(changes, max_size=25))
def test_standing_is_what_a_rescan_of_the_history_finds(drawn: list[Any]) -> None:
    constitution, history = Constitution(), History()
    apply(constitution, find_type("charter/1"), {"body": CHARTER}, "op", 0)
    for index, each in enumerate(drawn, start=1):
        enact(constitution, history, index, each)
    for index in range(1, len(drawn) + 2):
        for name in MEMBERS:
            status, held = member_at(history, name, index)
            found = constitution.members.get(name)
            assert (found is not None and found.stands_at(index)) == (status == "admitted")
            if found is not None and status == "admitted":
                assert found.roles_at(index) == held | {"member"}
        for key in KEYS:
            is_valid, member = key_at(history, key, index)
            its_member_stands = member is None or member_at(history, member, index)[0] == "admitted"
            assert constitution.stands_at(key, index) == (is_valid and its_member_stands)


@given(st.lists(changes, max_size=15), st.lists(changes, max_size=10))
def test_what_comes_later_never_changes_who_stood(earlier: list[Any], later: list[Any]) -> None:
    constitution, history = Constitution(), History()
    apply(constitution, find_type("charter/1"), {"body": CHARTER}, "op", 0)
    for index, each in enumerate(earlier, start=1):
        enact(constitution, history, index, each)
    points = [(key, index) for key in KEYS for index in range(1, len(earlier) + 2)]
    before = [constitution.stands_at(*point) for point in points]
    for index, each in enumerate(later, start=len(earlier) + 1):
        enact(constitution, history, index, each)
    assert [constitution.stands_at(*point) for point in points] == before


def founded() -> Constitution:
    constitution = Constitution()
    apply(constitution, find_type("charter/1"), {"body": CHARTER}, "op", 0)
    return constitution


def test_a_copy_is_changed_without_the_original() -> None:
    constitution = founded()
    before = constitution.copy()
    copy = constitution.copy()
    apply(copy, find_type("member/1"), {"body": Remove("acme")}, "op", 1)
    apply(copy, find_type("key/1"), {"body": Revoke("k0", "lost")}, "op", 2)
    assert constitution == before != copy


def test_an_entry_keeps_the_audience_that_stood_at_its_index() -> None:
    constitution = founded()
    wide, narrow = (AudienceSetting(type="note/1", entry=who) for who in ("public", "operator"))
    for at, setting in ((3, wide), (7, narrow)):
        change = find_type("audience/1").parts["body"].schema(setting)
        apply(constitution, find_type("audience/1"), {"body": change}, "op", at)
    settings = [constitution.audience_at("note/1", index) for index in (3, 4, 7, 8)]
    assert settings == [None, wide, wide, narrow]


def test_why_a_key_does_not_stand_is_said_by_entry() -> None:
    constitution = founded()
    with pytest.raises(StandingError, match="not registered"):
        constitution.check_author("k5", NOTE_1, 1)
    apply(constitution, find_type("member/1"), {"body": Suspend("acme")}, "op", 4)
    constitution.check_author("k0", NOTE_1, 4)
    with pytest.raises(StandingError, match="acme is suspended by entry 4"):
        constitution.check_author("k0", NOTE_1, 5)
    apply(constitution, find_type("key/1"), {"body": Revoke("k0", "lost")}, "op", 6)
    with pytest.raises(StandingError, match="revoked by entry 6"):
        constitution.check_author("k0", NOTE_1, 7)
