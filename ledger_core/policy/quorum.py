"""Quorum: does a rule hold, given who agrees?

Voters are members or keys, as the policy counts. Rules are monotone, so what a rule cannot
reach with every voter who has not rejected, it can never reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ledger_core.records.rules import KeyRule, MemberRule, OutOfRule, RoleRule, Rule, walk


@dataclass(frozen=True)
class Voter:
    """Who is counted once: a member, or a key where the policy counts keys.

    ``keys`` are those it spoke or could speak with.
    """

    name: str
    member: str | None
    keys: frozenset[str]
    roles: frozenset[str]


def holds(rule: Rule, voters: Iterable[Voter]) -> bool:
    """Say whether ``rule`` holds if all of ``voters``, and nobody else, agree."""
    return _holds(rule, {voter.name: voter for voter in voters})


def _holds(rule: Rule, voters: Mapping[str, Voter]) -> bool:
    match rule:
        case RoleRule():
            count = sum(rule.role in voter.roles for voter in voters.values())
            return count >= rule.at_least
        case OutOfRule():
            named: set[str] = set()
            others = 0
            for each in rule.of:
                if isinstance(each, MemberRule | KeyRule):
                    named |= _speakers(each, voters)
                else:
                    others += _holds(each, voters)
            return len(named) + others >= rule.at_least
        case _:
            return bool(_speakers(rule, voters))


def _speakers(rule: MemberRule | KeyRule, voters: Mapping[str, Voter]) -> AbstractSet[str]:
    """Return as whom a leaf holds, if it does; two leaves of one voter count once."""
    for voter in voters.values():
        if isinstance(rule, MemberRule):
            if voter.member == rule.member:
                return {rule.member}
        elif rule.key in voter.keys:
            return {voter.name}
    return frozenset()


def concerns(rule: Rule, voter: Voter) -> bool:
    """Say whether a rule speaks of this voter at all."""
    for node, _ in walk(rule):
        match node:
            case MemberRule() if node.member == voter.member:
                return True
            case KeyRule() if node.key in voter.keys:
                return True
            case RoleRule() if node.role in voter.roles:
                return True
            case _:
                continue
    return False
