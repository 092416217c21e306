"""Quorum: monotone, indifferent to order, and nobody is counted twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.policy.quorum import Voter, holds
from ledger_core.records.rules import KeyRule, MemberRule, OutOfRule, RoleRule, Rule
from tests.ledger_core.policy.strategies import (
    MEMBERS,
    member_rules,
    named,
    rules,
    shuffled,
    voters,
)


@given(rules, voters(), st.data())
def test_more_agreement_never_undoes_a_quorum(
    rule: Rule, all_voters: tuple[Voter, ...], data: st.DataObject
) -> None:
    some = [voter for voter in all_voters if data.draw(st.booleans())]
    assert holds(rule, all_voters) >= holds(rule, some)


@given(rules, voters(), st.data())
def test_more_keys_or_roles_of_a_voter_never_undo_a_quorum(
    rule: Rule, all_voters: tuple[Voter, ...], data: st.DataObject
) -> None:
    fewer = []
    for voter in all_voters:
        keys = [each for each in sorted(voter.keys) if data.draw(st.booleans())]
        roles = [each for each in sorted(voter.roles) if data.draw(st.booleans())]
        fewer.append(Voter(voter.name, voter.member, frozenset(keys), frozenset(roles)))
    assert holds(rule, all_voters) >= holds(rule, fewer)


@given(rules, voters(), st.data())
def test_the_order_of_operands_and_of_voters_says_nothing(
    rule: Rule, all_voters: tuple[Voter, ...], data: st.DataObject
) -> None:
    other = data.draw(st.permutations(all_voters))
    assert holds(shuffled(data.draw, rule), other) == holds(rule, all_voters)


@given(st.lists(named, min_size=1, max_size=6), voters())
def test_no_voter_is_counted_twice_among_the_named(
    of: list[Rule], all_voters: tuple[Voter, ...]
) -> None:
    for at_least in range(1, len(of) + 1):
        rule = OutOfRule(at_least, tuple(of))
        assert holds(rule, all_voters) == (match(list(dict.fromkeys(of)), all_voters) >= at_least)


def match(of: Sequence[Rule], free: Sequence[Voter]) -> int:
    """Give each named one a voter of its own, in every way there is; return the most."""
    if not of:
        return 0
    best = match(of[1:], free)
    for voter in free:
        if holds(of[0], [voter]):
            rest = [each for each in free if each is not voter]
            best = max(best, 1 + match(of[1:], rest))
    return best


@given(st.integers(1, 6), voters())
def test_a_role_counts_each_of_its_holders_once(
    at_least: int, all_voters: tuple[Voter, ...]
) -> None:
    holders = {voter.name for voter in all_voters if "auditor" in voter.roles}
    assert holds(RoleRule("auditor", at_least), all_voters) == (len(holders) >= at_least)


@given(rules)
def test_nobody_is_no_quorum(rule: Rule) -> None:
    assert not holds(rule, [])


@given(st.lists(member_rules, min_size=1, max_size=3))
def test_a_member_named_again_counts_no_more(of: list[Rule]) -> None:
    acme = Voter("acme", "acme", frozenset({"acme-1"}), frozenset())
    assert not holds(OutOfRule(2, (MemberRule("acme"), *of)), [acme])


@pytest.mark.parametrize("at_least", [1, 2, 3, 4])
def test_rules_inside_rules_are_counted_by_themselves(at_least: int) -> None:
    inner = OutOfRule(2, tuple(map(MemberRule, MEMBERS)))
    rule = OutOfRule(at_least, (inner, RoleRule("auditor"), MemberRule("acme"), KeyRule("acme-1")))
    two = [
        Voter("acme", "acme", frozenset({"acme-1"}), frozenset({"auditor"})),
        Voter("birch", "birch", frozenset({"birch-1"}), frozenset()),
    ]
    assert holds(rule, two) == (at_least <= 3)
