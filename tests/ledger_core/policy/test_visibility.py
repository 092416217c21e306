"""Who sees what, without a service: circles, readers, and the law that narrower shows no more."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import DanglingReferenceError
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.visibility import (
    NOBODY,
    OPERATOR,
    Circle,
    Reader,
    Standpoint,
    Subject,
    check_parties,
    entry_circle,
    find_reader,
    narrower,
    part_circle,
    payload_circle,
    sees_ledger,
)
from ledger_core.records.rules import Audience, AudienceSetting, MemberRule
from ledger_core.records.types.audience import AUDIENCE_1, AudienceChange
from ledger_core.records.types.charter import FoundingKey, FoundingMember, Kind, Parent
from ledger_core.records.types.key import KEY_1, Revoke
from ledger_core.records.types.member import MEMBER_1, Grant, Remove, Suspend
from tests.support.assemblies import OPERATOR as OPERATOR_KEY
from tests.support.assemblies import Log, agent, founding, make_policy, steward

NOTE, ACTION = "note/1", "agent.action/1"
AUDIENCES: tuple[Audience, ...] = get_args(Audience)
KINDS: tuple[Kind, ...] = get_args(Kind)
WIDER: dict[Audience, tuple[Audience, ...]] = {
    "public": AUDIENCES,
    "members": ("members", "roles", "parties", "operator"),
    "roles": ("roles", "operator"),
    "parties": ("parties", "operator"),
    "operator": ("operator",),
}
"""Each audience with those that are no wider."""


def a_log(kind: Kind = "private", *settings: AudienceSetting) -> Log:
    rest: dict[str, Any] = {"audiences": settings}
    if kind == "local":
        rest |= {"parties": ("acme", "birch"), "parent": Parent("origin", "sha256:")}
    # So that a change by acme's steward takes effect at once in every kind of ledger.
    alone = make_policy("member/1", "policy/1", rule=MemberRule("acme"))
    return Log(founding(alone, kind=kind, **rest))


def setting(entry: Audience | None = None, **parts: Audience) -> AudienceSetting:
    asks_roles = "roles" in (entry, *parts.values())
    return AudienceSetting(
        type=NOTE, entry=entry, parts=parts, roles=("auditor",) if asks_roles else ()
    )


def note(author: str = agent("acme"), index: int = 5, *parties: str) -> Subject:
    return Subject(index, NOTE, author, parties)


def reading(log: Log, party: str | None) -> Reader:
    return find_reader(log.constitution, party)


def sees(log: Log, party: str | None, subject: Subject) -> bool:
    return Standpoint(reading(log, party), log.constitution).sees(subject)


# --- defaults --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "stranger", "insider", "member", "party"),
    [
        ("public", True, True, True, True),
        ("private", False, True, True, True),
        ("consortium", False, False, True, True),
        ("local", False, False, False, True),
    ],
)
def test_where_nothing_is_set_the_kind_of_ledger_decides_who_sees_an_entry(
    kind: Kind, *, stranger: bool, insider: bool, member: bool, party: bool
) -> None:
    log = a_log(kind)
    circle = entry_circle(log.constitution, note())
    assert circle.includes(NOBODY) == stranger
    assert circle.includes(reading(log, None)) == insider
    assert circle.includes(reading(log, "cobalt")) == member
    assert circle.includes(reading(log, "birch")) == party
    assert circle.includes(OPERATOR)


def test_a_payload_is_for_members_even_where_the_entry_is_public() -> None:
    log = a_log("public")
    circle = part_circle(log.constitution, note(), "body")
    assert not circle.includes(NOBODY)
    assert circle.includes(reading(log, None))
    assert circle.includes(reading(log, "acme"))


def test_in_a_local_ledger_a_payload_is_for_the_parties() -> None:
    log = a_log("local")
    circle = part_circle(log.constitution, note(), "body")
    assert circle.includes(reading(log, "acme"))
    assert circle.includes(reading(log, "birch"))
    assert not circle.includes(reading(log, "cobalt"))


@pytest.mark.parametrize("kind", KINDS)
def test_governance_is_seen_whole_whatever_is_set(kind: Kind) -> None:
    hidden = AudienceSetting(type="endorsement/1", entry="operator", parts={"body": "operator"})
    log = a_log(kind, hidden)
    for name in ("charter/1", "endorsement/1", "outcome/1", "audience/1"):
        subject = Subject(5, name, OPERATOR_KEY)
        assert entry_circle(log.constitution, subject).includes(NOBODY)
        assert part_circle(log.constitution, subject, "body").includes(NOBODY)


def test_the_payload_of_a_type_nobody_knows_here_is_for_the_operator() -> None:
    log = a_log("public")
    circle = part_circle(log.constitution, Subject(5, "rumour/1", agent("acme")), "body")
    assert circle == Circle("operator")


# --- what is set -----------------------------------------------------------------


def test_an_entry_keeps_the_audience_that_stood_at_its_index() -> None:
    log = a_log("private")
    for audience in ("operator", "public"):
        log.append(AUDIENCE_1, OPERATOR_KEY, AudienceChange(setting(audience)))
    circles = [entry_circle(log.constitution, note(index=n)).audience for n in range(4)]
    assert circles == ["members", "members", "operator", "public"]


def test_roles_are_those_that_were_named_and_those_the_member_holds_now() -> None:
    log = a_log("private", setting("roles"))
    assert not sees(log, "birch", note())
    log.append(MEMBER_1, steward("acme"), Grant("birch", "auditor"))
    assert sees(log, "birch", note())
    assert not sees(log, "acme", note())


def test_the_author_its_member_and_the_named_parties_are_parties() -> None:
    log = a_log("consortium", setting("parties"))
    subject = note(agent("acme"), 5, agent("cobalt"))
    assert sees(log, "acme", subject)
    assert sees(log, agent("acme"), subject)
    assert sees(log, agent("acme", 2), subject)
    assert sees(log, agent("cobalt"), subject)
    assert not sees(log, agent("cobalt", 2), subject)
    assert not sees(log, "cobalt", subject)
    assert not sees(log, "birch", subject)


def test_a_part_may_be_narrower_than_its_entry_and_is_never_wider() -> None:
    log = a_log("consortium", setting("parties", body="public"))
    circle = payload_circle(log.constitution, note(), ["body"])
    assert not circle.includes(reading(log, "birch"))
    log = a_log("consortium", setting("public", body="parties"))
    assert entry_circle(log.constitution, note()).includes(NOBODY)
    assert not payload_circle(log.constitution, note(), ["body"]).includes(reading(log, "birch"))


# --- readers ---------------------------------------------------------------------


def test_whoever_does_not_stand_reads_like_anyone_else() -> None:
    log = a_log("private")
    log.append(MEMBER_1, steward("acme"), Suspend("birch"))
    log.append(MEMBER_1, steward("acme"), Remove("cobalt"))
    log.append(KEY_1, steward("acme"), Revoke(agent("acme"), "lost"))
    for party in ("birch", "cobalt", agent("birch"), agent("acme"), "nobody", "ed25519:x"):
        assert reading(log, party) == NOBODY
    assert reading(log, agent("acme", 2)).member == "acme"


def test_a_key_of_no_member_reads_what_is_for_members() -> None:
    log = a_log("consortium")
    assert reading(log, OPERATOR_KEY) == Reader(key=OPERATOR_KEY)
    assert sees(log, OPERATOR_KEY, note())


@pytest.mark.parametrize(
    ("kind", "without", "known", "unknown"),
    [
        ("public", True, True, True),
        ("private", True, True, False),
        ("consortium", True, True, False),
        ("local", False, True, False),
    ],
)
def test_a_ledger_is_seen_by_those_it_knows(
    kind: Kind, *, without: bool, known: bool, unknown: bool
) -> None:
    constitution = a_log(kind).constitution
    assert sees_ledger(constitution, None) == without
    assert sees_ledger(constitution, "acme") == known
    assert sees_ledger(constitution, agent("acme")) == known
    assert sees_ledger(constitution, "dune") == unknown


def test_a_member_that_was_removed_still_sees_that_it_was() -> None:
    log = a_log("private")
    log.append(MEMBER_1, steward("acme"), Remove("cobalt"))
    assert sees_ledger(log.constitution, "cobalt")
    assert not sees(log, "cobalt", note())


# --- parties of a record ---------------------------------------------------------


def test_a_party_is_a_member_or_key_that_the_ledger_knows() -> None:
    log = a_log()
    check_parties(log.constitution, ["acme", agent("birch")], len(log.acts))
    log.append(MEMBER_1, steward("acme"), Remove("cobalt"))
    log.append(KEY_1, OPERATOR_KEY, Revoke(agent("acme"), "lost"))
    for party in ("cobalt", "dune", agent("acme"), agent("dune")):
        with pytest.raises(DanglingReferenceError):
            check_parties(log.constitution, [party], len(log.acts))


# --- laws ------------------------------------------------------------------------

MEMBERS = ("acme", "birch", "cobalt")
parties = st.sampled_from([*MEMBERS, *map(agent, MEMBERS), *map(steward, MEMBERS), OPERATOR_KEY])
subjects = st.builds(
    Subject,
    st.just(5),
    st.just(NOTE),
    st.sampled_from([agent("acme"), agent("birch", 2), OPERATOR_KEY]),
    st.lists(parties, max_size=3).map(tuple),
)
readers = st.one_of(st.none(), parties, st.sampled_from(["dune", "ed25519:unknown"]))


def granted(kind: Kind, chosen: AudienceSetting, auditors: frozenset[str]) -> Constitution:
    """Found a ledger some of whose members are auditors."""
    charter = founding(kind=kind, audiences=(chosen,))
    members = tuple(FoundingMember(m, ("auditor",) if m in auditors else ()) for m in MEMBERS)
    changes: dict[str, Any] = {"members": members}
    if kind == "local":
        changes |= {"parties": ("acme",), "parent": Parent("origin", "sha256:")}
    return Log(msgspec.structs.replace(charter, **changes)).constitution


@given(
    kind=st.sampled_from(KINDS),
    auditors=st.frozensets(st.sampled_from(MEMBERS)),
    subject=subjects,
    party=readers,
    wide=st.sampled_from(AUDIENCES),
    data=st.data(),
)
def test_a_narrower_audience_never_shows_more(
    kind: Kind,
    auditors: frozenset[str],
    subject: Subject,
    party: str | None,
    wide: Audience,
    data: st.DataObject,
) -> None:
    narrow = data.draw(st.sampled_from(WIDER[wide]))
    shown = []
    for audience in (narrow, wide):
        constitution = granted(kind, setting(audience, body=audience), auditors)
        reader = find_reader(constitution, party)
        entry = entry_circle(constitution, subject).includes(reader)
        payload = payload_circle(constitution, subject, ["body"]).includes(reader)
        assert entry or not payload
        assert not Standpoint(reader, constitution).sees_every_entry or entry
        shown.append((entry, payload))
    assert shown[0] <= shown[1]
    assert all(one <= other for one, other in zip(*shown, strict=True))


circles = st.builds(
    Circle,
    st.sampled_from(AUDIENCES),
    st.frozensets(st.sampled_from(["member:acme", "role:auditor", "ed25519:k"])),
)
some_readers = st.builds(
    Reader,
    is_operator=st.booleans(),
    is_insider=st.booleans(),
    member=st.sampled_from([None, "acme", "birch"]),
    key=st.sampled_from([None, "ed25519:k"]),
    roles=st.frozensets(st.sampled_from(["auditor"])),
)


@given(circles, circles, some_readers)
def test_what_is_within_two_circles_is_seen_by_nobody_outside_either(
    first: Circle, second: Circle, reader: Reader
) -> None:
    if narrower(first, second).includes(reader):
        assert first.includes(reader)
        assert second.includes(reader)


def test_keys_are_named_in_circles_as_they_are_and_members_with_a_mark() -> None:
    key = FoundingKey(OPERATOR_KEY, ("operator",)).key
    assert Reader(member="acme", key=key, roles=frozenset({"member"})).names == {
        key,
        "member:acme",
        "role:member",
    }
