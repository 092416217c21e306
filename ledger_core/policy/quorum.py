"""Quorum: does a rule hold, given who agrees?

Voters are members or keys, as the policy counts. Rules are monotone, so what a rule cannot
reach with every voter who has not rejected, it can never reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
            others = sum(
                _holds(each, voters) for each in rule.of if isinstance(each, RoleRule | OutOfRule)
            )
            return _count_named(rule, voters) + others >= rule.at_least
        case MemberRule():
            return any(voter.member == rule.member for voter in voters.values())
        case KeyRule():
            return any(rule.key in voter.keys for voter in voters.values())


def _count_named(rule: OutOfRule, voters: Mapping[str, Voter]) -> int:
    """Count the keys and members it names that hold, each by a voter of its own.

    A key is spoken for by one voter; whoever that is does not speak for its member as well.
    """
    keys = {each.key for each in rule.of if isinstance(each, KeyRule)}
    members = {each.member for each in rule.of if isinstance(each, MemberRule)}
    by_key = {voter.name for voter in voters.values() if voter.keys & keys}
    rest = {voter.member for voter in voters.values() if voter.name not in by_key}
    return len(by_key) + len(members & rest)


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
