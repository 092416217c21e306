"""Rules, policies and voters for laws that hold of all of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ledger_core.policy.quorum import Voter
from ledger_core.records.rules import KeyRule, MemberRule, OutOfRule, Policy, RoleRule, Rule

MEMBERS = ("acme", "birch", "cobalt")
KEYS = {f"{member}-{number}": member for member in MEMBERS for number in (1, 2)}
ROLES = ("auditor", "clerk")

member_rules = st.sampled_from(MEMBERS).map(MemberRule)
key_rules = st.sampled_from(sorted(KEYS)).map(KeyRule)
role_rules = st.builds(RoleRule, st.sampled_from(ROLES), st.integers(1, 3))
named = st.one_of(member_rules, key_rules)


@st.composite
def out_of(draw: st.DrawFn, children: st.SearchStrategy[Rule]) -> OutOfRule:
    of = tuple(draw(st.lists(children, min_size=1, max_size=5)))
    return OutOfRule(draw(st.integers(1, len(of))), of)


rules: st.SearchStrategy[Rule] = st.recursive(named | role_rules, out_of, max_leaves=10)


@st.composite
def voters(draw: st.DrawFn) -> tuple[Voter, ...]:
    """Draw voters as a policy counts them: all members, or all keys."""
    keys = draw(st.sets(st.sampled_from(sorted(KEYS))))
    roles = {each: frozenset(draw(st.sets(st.sampled_from(ROLES)))) for each in MEMBERS}
    if draw(st.booleans()):
        return tuple(
            Voter(key, KEYS[key], frozenset({key}), roles[KEYS[key]]) for key in sorted(keys)
        )
    return tuple(
        Voter(each, each, frozenset(key for key in keys if KEYS[key] == each), roles[each])
        for each in sorted({KEYS[key] for key in keys})
    )


TYPES = ("note/1", "agent.action/1", "agent.decision/1", "member/1")
policies: st.SearchStrategy[Policy] = st.builds(
    Policy,
    name=st.sampled_from(["p", "two-of-three"]),
    governs=st.lists(st.sampled_from(TYPES), min_size=1, unique=True).map(tuple),
    rule=rules,
    count_by=st.sampled_from(["member", "key"]),
    author_counts=st.booleans(),
    ttl_s=st.integers(1, 10**6),
    withdrawn_by=st.sampled_from(["author", "member", "nobody"]),
    veto=st.none() | rules,
)


def shuffled(draw: Any, rule: Rule) -> Rule:
    """Return a rule with its operands in another order, at every depth."""
    if not isinstance(rule, OutOfRule):
        return rule
    of = draw(st.permutations([shuffled(draw, each) for each in rule.of]))
    return OutOfRule(rule.at_least, tuple(of))
