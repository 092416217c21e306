"""Changes of earlier entries, judged and applied in memory: one sentence for each rule."""

from __future__ import annotations

from typing import Any

import pytest

from ledger_core import clock, ids, limits
from ledger_core.errors import DanglingReferenceError, HeadMovedError, StandingError
from ledger_core.policy.effects import Effect, retired_at
from ledger_core.records.rules import MemberRule, MutabilitySetting, Policy
from ledger_core.records.targets import Parts
from ledger_core.records.types.agent_action import AGENT_ACTION_1
from ledger_core.records.types.bundle import BUNDLE_1, Bundle
from ledger_core.records.types.charter import Kind
from ledger_core.records.types.erasure import ERASURE_1, Erasure
from ledger_core.records.types.hold import HOLD_1, Hold
from ledger_core.records.types.mutability import MUTABILITY_1, MutabilityChange
from ledger_core.records.types.note import NOTE_1
from ledger_core.records.types.policy import POLICY_1, LiftPolicy, SetPolicy
from ledger_core.records.types.redaction import REDACTION_1, Redact, Unredact
from ledger_core.records.types.retention import RETENTION_1, Retention
from ledger_core.records.types.rollback import ROLLBACK_1, Rollback
from tests.support.assemblies import OPERATOR, Log, agent, founding, make_policy, steward

AUTHOR, COLLEAGUE, STRANGER = agent("acme"), agent("acme", 2), agent("birch")
ANYBODY = ("role:member", "operator")


def setting(type_name: str = "note/1", **those: Any) -> MutabilitySetting:
    every = dict.fromkeys(("amend", "roll_back", "redact", "erase", "hold"), ANYBODY)
    return MutabilitySetting(type=type_name, **(every | those))


def office(*policies: Policy, kind: Kind = "private", **those: Any) -> Log:
    return Log(founding(*policies, kind=kind, mutability=(setting(**those),)))


def names(*leaf_hashes: bytes) -> tuple[str, ...]:
    return tuple(map(ids.format_digest, leaf_hashes))


def parts(leaf_hash: bytes, *named: str) -> tuple[Parts, ...]:
    return (Parts(ids.format_digest(leaf_hash), named or ("body",)),)


def note(log: Log, author: str = AUTHOR, amends: bytes | None = None) -> bytes:
    return log.append(NOTE_1, author, {}, amends)


def hold(log: Log, target: bytes, case: str = "case", action: Any = "hold") -> bytes:
    return log.append(HOLD_1, AUTHOR, Hold(action, names(target), case))


def erase(log: Log, target: bytes, *named: str) -> bytes:
    return log.append(ERASURE_1, AUTHOR, Erasure(parts(target, *named), "request"))


def roll_back(log: Log, target: bytes, to: int) -> bytes:
    return log.append(ROLLBACK_1, AUTHOR, Rollback(names(target), to))


def refuse(match: str, append: Any, *arguments: Any) -> None:
    with pytest.raises(StandingError, match=match):
        append(*arguments)


def version(log: Log, target: bytes) -> bytes | None:
    effect = log.effect(target)
    return effect.version_at(effect.index, len(log.acts))


# --- who may ask ---------------------------------------------------------------------------


def test_the_author_its_member_a_key_of_the_operator_and_a_role_may_ask_where_they_are_named() -> (
    None
):
    asking = {"author": AUTHOR, "member": COLLEAGUE, "operator": OPERATOR, "role:member": STRANGER}
    for who, key in asking.items():
        log = office(hold=(who,))
        target = note(log)
        others = set(asking.values()) - {key} - ({AUTHOR} if who != "operator" else set())
        for other in others if who in ("author", "operator") else ():
            with pytest.raises(StandingError, match="not this author's"):
                log.append(HOLD_1, other, Hold("hold", names(target), "case"))
        log.append(HOLD_1, key, Hold("hold", names(target), "case"))
        assert log.effect(target).cases_at(len(log.acts)) == {"case"}


def test_a_role_is_asked_for_where_the_change_lies() -> None:
    log = office(hold=("role:auditor",))
    target = note(log)
    refuse("not this author's", hold, log, target)


def test_where_members_do_not_trust_each_other_a_change_of_anothers_entry_needs_a_policy() -> None:
    quorum = make_policy("member/1", "policy/1")
    log = office(quorum, kind="consortium")
    target = note(log)
    order = Erasure(parts(target), "request")
    for other in (OPERATOR, STRANGER):
        refuse("without a policy", log.append, ERASURE_1, other, order)
    log.append(ERASURE_1, COLLEAGUE, order)
    agreed = office(quorum, make_policy("erasure/1"), kind="consortium")
    waiting = agreed.append(ERASURE_1, OPERATOR, Erasure(parts(note(agreed)), "request"))
    assert agreed.proposal(waiting).is_open


def test_one_of_several_targets_that_is_not_to_be_changed_is_enough_to_refuse() -> None:
    log = office(hold=("author",))
    own, other = note(log), note(log, STRANGER)
    refuse("not this author's", log.append, HOLD_1, AUTHOR, Hold("hold", names(own, other), "c"))
    assert not log.effect(own).holdings


def test_targets_under_different_policies_are_changed_one_by_one() -> None:
    actions = setting("agent.action/1")
    log = Log(
        founding(make_policy("hold/1:agent.action/1"), mutability=(setting(), actions)),
    )
    targets = names(note(log), log.append(AGENT_ACTION_1, AUTHOR, {}))
    refuse("one by one", log.append, HOLD_1, AUTHOR, Hold("hold", targets, "case"))


def test_entries_that_are_not_there_are_a_bad_reference() -> None:
    log = office()
    with pytest.raises(DanglingReferenceError):
        hold(log, b"\x07" * 32)


# --- whose agreement -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("governs", "waits"),
    [("amends:note/1", True), ("amends", True), ("note/1", True), ("amends:agent.action/1", False)],
)
def test_an_amendment_waits_under_its_own_topic_or_the_policy_of_its_type(
    governs: str, waits: bool
) -> None:
    log = office(make_policy(governs, rule=MemberRule("birch")))
    first = note(log)
    if governs == "note/1":
        log.endorse(first, STRANGER)
    second = note(log, amends=first)
    assert (second in log.assembly.proposals) == waits
    if waits:
        assert not log.effect(first).moves
        log.endorse(second, STRANGER)
    assert version(log, first) == second


def test_the_policy_over_amendments_comes_before_that_of_the_type() -> None:
    types, amendments = make_policy("note/1", rule=MemberRule("acme")), make_policy("amends")
    log = office(types, amendments)
    first = note(log)
    assert log.verdict(first) == "confirmed"
    assert log.proposal(note(log, amends=first)).is_open


@pytest.mark.parametrize("governs", ["amends", "amends:note/1"])
def test_nobody_lowers_the_agreement_that_amendments_take_by_a_policy_of_their_own(
    governs: str,
) -> None:
    weak = SetPolicy(make_policy(governs, rule=MemberRule("acme")))
    log = office(make_policy("note/1"))
    if governs == "amends":  # It would take over from notes' policy, and from nobody's.
        refuse("one by one", log.append, POLICY_1, OPERATOR, weak)
    else:
        assert log.proposal(log.append(POLICY_1, OPERATOR, weak)).is_open


def test_a_policy_over_all_amendments_leaves_alone_what_has_its_own() -> None:
    log = office(make_policy("note/1"), make_policy("amends:note/1"))
    log.append(POLICY_1, OPERATOR, SetPolicy(make_policy("amends")))
    assert "amends" in log.constitution.governing


@pytest.mark.parametrize("governs", ["erasure/1", "erasure/1:note/1"])
def test_a_policy_over_some_erasures_is_set_under_that_over_all(governs: str) -> None:
    log = office(make_policy("erasure/1"))
    change = SetPolicy(make_policy(governs, rule=MemberRule("acme")))
    assert log.proposal(log.append(POLICY_1, OPERATOR, change)).is_open


def test_a_topic_without_a_policy_has_none_to_lift() -> None:
    log = office(make_policy("note/1"))
    with pytest.raises(StandingError):
        log.append(POLICY_1, OPERATOR, LiftPolicy(("amends:note/1",)))


# --- versions ----------------------------------------------------------------------------------


def test_of_two_amendments_of_one_version_the_second_names_a_head_that_has_moved() -> None:
    log = office()
    first = note(log)
    second = note(log, amends=first)
    with pytest.raises(HeadMovedError) as caught:
        note(log, amends=first)
    assert caught.value.head == ids.format_digest(second)


def test_what_was_rolled_back_to_nothing_is_amended_by_its_first_version() -> None:
    log = office()
    first = note(log)
    second = note(log, amends=first)
    roll_back(log, first, 1)
    assert version(log, first) is None
    with pytest.raises(HeadMovedError):
        note(log, amends=second)
    assert version(log, first) is None
    third = note(log, amends=first)
    assert version(log, first) == third


def test_a_rollback_goes_back_names_first_versions_and_changes_something() -> None:
    log = office()
    first = note(log)
    second = note(log, amends=first)
    refuse("goes back", roll_back, log, first, len(log.acts))
    refuse("first versions", roll_back, log, second, 1)
    note(log)
    refuse("like that already", roll_back, log, first, 3)


def test_a_record_that_did_not_take_effect_cannot_be_amended() -> None:
    log = office(make_policy("note/1"))
    waiting = note(log)
    refuse("not taken effect", note, log, AUTHOR, waiting)
    for other in ("birch", "cobalt"):
        log.endorse(waiting, agent(other), "reject")
    assert log.verdict(waiting) == "rejected"
    refuse("not taken effect", note, log, AUTHOR, waiting)


def test_an_amendment_has_the_type_of_what_it_amends() -> None:
    log = office()
    first = note(log)
    refuse("amended by a note/1", log.append, AGENT_ACTION_1, AUTHOR, {}, first)
    refuse("amended by a charter/1", note, log, AUTHOR, log.acts[0].leaf_hash)


# --- parts ---------------------------------------------------------------------------------------


def test_a_part_that_an_entry_does_not_have_is_neither_erased_nor_hidden() -> None:
    log = office()
    target = note(log)
    refuse("no part bodi", erase, log, target, "bodi")
    redaction = Redact(parts(target, "bodi"))
    refuse("no part bodi", log.append, REDACTION_1, AUTHOR, redaction)


def test_a_redaction_that_changes_nothing_is_refused_and_another_circle_is_a_change() -> None:
    log = office()
    target = note(log)
    for roles in ((), ("auditor",)):
        log.append(REDACTION_1, AUTHOR, Redact(parts(target), roles))
        refuse("already", log.append, REDACTION_1, AUTHOR, Redact(parts(target), roles))
    log.append(REDACTION_1, AUTHOR, Unredact(parts(target)))
    refuse("not redacted", log.append, REDACTION_1, AUTHOR, Unredact(parts(target)))


def test_a_part_is_erased_once_and_never_while_it_is_held() -> None:
    log = office()
    target = note(log)
    hold(log, target)
    refuse("held by case", erase, log, target)
    hold(log, target, action="release")
    erase(log, target)
    refuse("erased already", erase, log, target)


def test_however_often_an_entry_was_changed_it_can_be_released_and_erased(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CHANGES_OF_AN_ENTRY", 3)
    log = office()
    target = note(log)
    hold(log, target)
    log.append(REDACTION_1, AUTHOR, Redact(parts(target)))
    head = note(log, amends=target)
    refuse("too often", note, log, AUTHOR, head)
    refuse("too often", hold, log, target, "another")
    hold(log, target, action="release")
    log.append(REDACTION_1, AUTHOR, Unredact(parts(target)))
    erase(log, target)


# --- governance, and for ever ------------------------------------------------------------------


def test_the_schedule_never_reaches_governance() -> None:
    log = office(type_name="*", keep_s={"body": 1})
    log.now_ms += 10_000
    order = Retention("charter/1", "body", clock.format_time(log.now_ms - 5_000))
    refuse("governance", log.append, RETENTION_1, OPERATOR, order)


def retire(log: Log, target: bytes) -> int | None:
    """Order what is due now; return the index of the order that reached the note first."""
    log.now_ms += 10_000
    before = clock.format_time(log.now_ms - 5_000)
    log.append(RETENTION_1, OPERATOR, Retention("note/1", "body", before))
    effect = log.effect(target)
    received_at = log.acts[effect.index].received_at
    return retired_at(log.constitution, effect, received_at, "body", len(log.acts))


def test_a_held_entry_is_left_by_the_schedule_until_a_later_order() -> None:
    log = office(keep_s={"body": 1})
    target = note(log)
    hold(log, target)
    assert retire(log, target) is None
    hold(log, target, action="release")
    assert retire(log, target) == len(log.acts) - 1
    assert retire(log, target) == len(log.acts) - 2


def test_for_ever_holds_against_what_is_agreed_to_in_the_same_bundle() -> None:
    log = office(make_policy("mutability/1", rule=MemberRule("birch"), author_counts=False))
    author = steward("acme")
    both = [
        log.append(MUTABILITY_1, author, MutabilityChange(setting(for_ever=is_for_ever)))
        for is_for_ever in (True, False)
    ]
    bundle = log.append(BUNDLE_1, author, Bundle(names(*both)))
    log.endorse(bundle, STRANGER)
    assert log.verdict(bundle) == "rejected"


# --- bundles: each after those before it -------------------------------------------------------


def bundle(log: Log, *proposals: bytes) -> bytes:
    joined = log.append(BUNDLE_1, AUTHOR, Bundle(names(*proposals)))
    log.endorse(joined, STRANGER)
    return joined


def asking(*topics: str) -> Log:
    return office(make_policy(*topics, rule=MemberRule("birch"), author_counts=False))


def test_a_bundle_changes_no_more_entries_than_one_change_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CHANGE_TARGETS", 2)
    log = asking("hold/1")
    three = [hold(log, note(log)) for _ in range(3)]
    refuse("at most 2 entries", bundle, log, *three)
    assert log.verdict(bundle(log, *three[:2])) == "confirmed"


def test_a_bundle_does_not_erase_what_it_holds() -> None:
    log = asking("hold/1", "erasure/1")
    target = note(log)
    assert log.verdict(bundle(log, hold(log, target), erase(log, target))) == "rejected"
    assert log.effect(target) == Effect(1, target, "note/1", AUTHOR, ("body",))


def test_a_bundle_erases_what_it_released() -> None:
    log = asking("hold/1", "erasure/1")
    target = note(log)
    order = erase(log, target)
    held = hold(log, target)
    log.endorse(held, STRANGER)
    release = hold(log, target, action="release")
    assert log.verdict(bundle(log, release, order)) == "confirmed"
    assert log.effect(order).ordered_at == len(log.acts) - 1


def test_a_bundle_amends_and_rolls_back() -> None:
    log = asking("amends", "rollback/1")
    first = note(log)
    to = len(log.acts)
    second = note(log, amends=first)
    log.endorse(second, STRANGER)
    back = roll_back(log, first, to)
    third = note(log, amends=second)
    assert log.verdict(bundle(log, third, back)) == "confirmed"
    assert version(log, first) == first
    assert [move.version for move in log.effect(first).moves] == [second, third, first]


def test_a_change_that_is_no_longer_allowed_when_it_is_agreed_to_is_inapplicable() -> None:
    log = asking("erasure/1")
    target = note(log)
    order = erase(log, target)
    log.append(MUTABILITY_1, OPERATOR, MutabilityChange(MutabilitySetting(type="note/1")))
    log.endorse(order, STRANGER)
    assert log.verdict(order) == "rejected"
    assert log.effect(order).ordered_at is None
    assert not log.effect(target).erasures
