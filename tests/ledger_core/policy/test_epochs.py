"""Who must agree to an epoch: counted like every agreement, as things stand at the fork."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import StandingError
from ledger_core.policy.epochs import check_agreed, origin_at
from ledger_core.records.rules import MemberRule, OutOfRule, RoleRule
from ledger_core.records.types.charter import Parent
from ledger_core.records.types.member import MEMBER_1, Grant, Suspend
from tests.support.assemblies import (
    MEMBERS,
    OPERATOR,
    Log,
    agent,
    founding,
    make_policy,
    steward,
)


def agreed(log: Log, *signers: str, author: str = OPERATOR) -> bool:
    try:
        check_agreed(log.constitution, list(signers), author, len(log.acts))
    except StandingError:
        return False
    return True


def test_a_policy_for_epochs_counts_before_the_one_for_policies() -> None:
    one = make_policy("epoch/1", rule=MemberRule("cobalt"))
    log = Log(founding(one, make_policy("member/1", "policy/1"), kind="consortium"))
    assert agreed(log, agent("cobalt"))
    assert not agreed(log, agent("acme"), agent("birch"), OPERATOR)


def test_keys_of_one_member_are_one_voice_where_members_are_counted() -> None:
    log = Log(founding(make_policy("member/1", "policy/1"), kind="consortium"))
    assert not agreed(log, agent("acme"), agent("acme", 2), steward("acme"))
    assert agreed(log, agent("acme"), steward("birch"))
    assert not agreed(log)


def test_where_keys_are_counted_each_is_a_voice() -> None:
    rule = RoleRule("member", 3)
    log = Log(founding(make_policy("epoch/1", rule=rule, count_by="key")))
    assert agreed(log, agent("acme"), agent("acme", 2), steward("acme"))
    assert not agreed(log, agent("acme"), OPERATOR, steward("acme"))


def test_whoever_does_not_stand_at_the_fork_does_not_count() -> None:
    log = Log(founding(make_policy("epoch/1")))
    log.append(MEMBER_1, OPERATOR, Suspend("birch"))
    assert not agreed(log, agent("acme"), agent("birch"))
    assert agreed(log, agent("acme"), agent("cobalt"))
    assert not agreed(log, agent("acme"), "ed25519:stranger")


def test_roles_are_those_held_at_the_fork() -> None:
    log = Log(founding(make_policy("epoch/1", rule=RoleRule("auditor"))))
    assert not agreed(log, agent("acme"))
    log.append(MEMBER_1, OPERATOR, Grant("acme", "auditor"))
    assert agreed(log, agent("acme"))


def test_an_author_counts_where_the_policy_says_so() -> None:
    for counts in (True, False):
        rule = OutOfRule(1, (MemberRule("acme"),))
        log = Log(founding(make_policy("epoch/1", rule=rule, author_counts=counts)))
        assert agreed(log, steward("acme"), author=steward("acme")) is counts


def test_without_a_policy_one_operator_decides_where_there_are_no_others() -> None:
    for kind in ("public", "private"):
        log = Log(founding(kind=kind))
        assert agreed(log, OPERATOR)
        assert not agreed(log, *(steward(name) for name in MEMBERS))


def local(*parties: str, **rest: Any) -> Log:
    parent = Parent("ledger.example/parent", "sha256:…")
    return Log(founding(kind="local", parties=tuple(sorted(parties)), parent=parent, **rest))


def test_in_a_local_ledger_without_a_policy_every_party_agrees() -> None:
    log = local("acme", agent("birch"))
    assert agreed(log, agent("acme", 2), agent("birch"))
    assert not agreed(log, agent("acme"), agent("birch", 2))
    assert not agreed(log, agent("acme"), OPERATOR)
    assert not agreed(log, OPERATOR)


@given(st.sets(st.sampled_from([agent(m, n) for m in MEMBERS for n in (1, 2)])), st.data())
def test_more_signatures_never_undo_an_agreement(signers: set[str], data: st.DataObject) -> None:
    log = Log(founding(make_policy("member/1", "policy/1"), kind="consortium"))
    fewer = [each for each in sorted(signers) if data.draw(st.booleans())]
    assert agreed(log, *sorted(signers)) >= agreed(log, *fewer)


@given(st.sets(st.integers(1, 50), max_size=5), st.integers(0, 60))
def test_an_entry_has_the_origin_of_the_last_epoch_that_began(starts: set[int], at: int) -> None:
    origins = ((0, "o/1"), *((start, f"o/{start}") for start in sorted(starts)))
    since = max([0, *(start for start in starts if start <= at)])
    assert origin_at(origins, at) == (f"o/{since}" if since else "o/1")


def test_nobody_agrees_in_a_consortium_that_lost_its_policies() -> None:
    log = Log(founding(make_policy("member/1", "policy/1"), kind="consortium"))
    log.constitution.governing.clear()
    with pytest.raises(StandingError, match="agrees to nothing"):
        check_agreed(log.constitution, [OPERATOR], OPERATOR, len(log.acts))
