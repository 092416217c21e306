"""A second judge of proposals, naive on purpose: it rescans the whole log for every question.

Written from the words of docs/spec/governance.md, without the code that is to be judged. It
trusts nothing but the entries; of outcomes it takes that they were right when they were
appended, which its caller asks of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ledger_core import ids
from ledger_core.policy.act import Act
from ledger_core.records.rules import (
    KeyRule,
    MemberRule,
    MutabilitySetting,
    OutOfRule,
    Policy,
    RoleRule,
    Rule,
)
from ledger_core.records.types.bundle import Bundle
from ledger_core.records.types.charter import Charter
from ledger_core.records.types.endorsement import Endorsement
from ledger_core.records.types.equivocation import Equivocation
from ledger_core.records.types.key import Register, Revoke
from ledger_core.records.types.key_rotation import KeyRotation
from ledger_core.records.types.member import Grant, Remove, Resume, Suspend, Withdraw
from ledger_core.records.types.mutability import MutabilityChange
from ledger_core.records.types.outcome import Outcome
from ledger_core.records.types.policy import LiftPolicy, SetPolicy
from ledger_core.records.types.retention import Retention
from ledger_core.records.types.withdrawal import Withdrawal
from tests.vectors.story import hash_policies, hash_policy

Acts = Sequence[Act]
SPEECH = (Endorsement, Withdrawal, Bundle, Outcome, Equivocation)
CONSTITUTIONAL = (
    Charter, Register, Revoke, KeyRotation, Grant, Remove, Resume, Suspend, Withdraw, SetPolicy,
    LiftPolicy, MutabilityChange, Retention,
)  # fmt: skip
TYPES = ("note/1", "agent.action/1")
"""The types of which these tests amend entries."""


@dataclass(frozen=True)
class Effect:
    """A change that took effect at an index."""

    at: int
    author: str
    change: Any


def name(leaf_hash: bytes) -> str:
    return ids.format_digest(leaf_hash)


def body_of(act: Act) -> Any:
    return act.payload["body"]


def find(acts: Acts, digest: str) -> Act:
    return next(act for act in acts if name(act.leaf_hash) == digest)


# --- what took effect --------------------------------------------------------------------


def effects(acts: Acts) -> list[Effect]:
    """Return all changes that took effect, in their order."""
    done: list[Effect] = []
    for act in acts:
        body = body_of(act)
        if isinstance(body, Outcome):
            if body.verdict == "confirmed":
                for part in parts_of(acts, body.proposal):
                    if isinstance(body_of(part), CONSTITUTIONAL):
                        done.append(Effect(act.index, part.author, body_of(part)))
        elif isinstance(body, CONSTITUTIONAL) and policy_over(done, act) is None:
            done.append(Effect(act.index, act.author, body))
    return done


def parts_of(acts: Acts, digest: str) -> list[Act]:
    act = find(acts, digest)
    body = body_of(act)
    return [find(acts, each) for each in body.proposals] if isinstance(body, Bundle) else [act]


def in_force(done: Iterable[Effect], type_name: str) -> Policy | None:
    found = None
    for each in done:
        match each.change:
            case Charter():
                for policy in each.change.policies:
                    found = policy if type_name in policy.governs else found
            case SetPolicy() if type_name in each.change.policy.governs:
                found = each.change.policy
            case LiftPolicy() if type_name in each.change.governs:
                found = None
    return found


def policy_over(done: Sequence[Effect], act: Act) -> Policy | None:
    """Return the policy a record waits under, the changes given having taken effect."""
    body = body_of(act)
    if act.index == 0 or isinstance(body, (*SPEECH, KeyRotation, Retention)):
        return None
    if isinstance(body, SetPolicy | LiftPolicy):
        return asked_for(done, body)[0]
    return in_force(done, act.kind.name)


def asked_for(done: Sequence[Effect], change: SetPolicy | LiftPolicy) -> list[Policy | None]:
    """Return whose word a change of policies takes, for each topic that it speaks of."""
    governs = change.policy.governs if isinstance(change, SetPolicy) else change.governs
    found: list[Policy | None] = []
    for topic in governs:
        general = in_force(done, "policy/1")
        kind, _, of = topic.partition(":")
        if in_force(done, topic):
            found.append(in_force(done, topic))
        elif of:
            found.append(over_change(done, kind, of) or general)
        else:
            found.append(general)
            if kind == "amends":
                own = [each for each in TYPES if not in_force(done, f"amends:{each}")]
                found += [in_force(done, each) for each in own if in_force(done, each)]
    return found


def over_change(done: Sequence[Effect], kind: str, of: str) -> Policy | None:
    """Return the policy that a change of an entry of a type waits under."""
    found = in_force(done, f"{kind}:{of}") or in_force(done, kind)
    return found or (in_force(done, of) if kind == "amends" else None)


def policy_of(acts: Acts, act: Act) -> Policy | None:
    """Return the policy that an entry waits under, by what stands before it."""
    done, body = effects(acts[: act.index]), body_of(act)
    if act.amends is not None:
        return over_change(done, "amends", act.kind.name)
    if act.kind.name in ("rollback/1", "redaction/1", "hold/1", "erasure/1"):
        first = body.targets[0]
        named = first if isinstance(first, str) else first.entry
        return over_change(done, act.kind.name, find(acts, named).kind.name)
    return policy_over(done, act)


def setting_of(done: Iterable[Effect], type_name: str, index: int) -> MutabilitySetting:
    """Return the last setting before an index: the type's own, or that for every type."""
    found = {"*": MutabilitySetting(type="*")}
    for each in done:
        if each.at >= index:
            continue
        if isinstance(each.change, Charter):
            found |= {setting.type: setting for setting in each.change.mutability}
        elif isinstance(each.change, MutabilityChange):
            found[each.change.setting.type] = each.change.setting
    return found.get(type_name, found["*"])


# --- who stands ----------------------------------------------------------------------------


def member_at(done: Iterable[Effect], member: str, index: int) -> tuple[str, set[str]]:
    status, roles = "unknown", set[str]()
    for each in done:
        change = each.change
        if each.at >= index:
            continue
        if isinstance(change, Charter):
            for founding in change.members:
                if founding.name == member:
                    status, roles = "admitted", set(founding.roles)
        elif not isinstance(change, Register) and getattr(change, "member", None) == member:
            match change:
                case Suspend():
                    status = "suspended"
                case Resume():
                    status = "admitted"
                case Remove():
                    status, roles = "removed", set()
                case Grant():
                    roles = roles | {change.role}
                case Withdraw():
                    roles = roles - {change.role}
    return status, roles


def roles_at(done: Sequence[Effect], member: str | None, index: int) -> set[str]:
    if member is None:
        return set()
    status, roles = member_at(done, member, index)
    return roles | {"member"} if status == "admitted" else set()


def keys_at(done: Iterable[Effect], index: int) -> dict[str, tuple[bool, str | None]]:
    """Return every key registered before an index: whether it is unrevoked, and whose it is."""
    keys: dict[str, tuple[bool, str | None]] = {}
    for each in done:
        if each.at >= index:
            continue
        match each.change:
            case Charter():
                keys |= {key.key: (True, key.member) for key in each.change.keys}
            case Register():
                keys[each.change.key] = True, each.change.member
            case Revoke():
                keys[each.change.key] = False, keys[each.change.key][1]
            case KeyRotation():
                keys[each.change.key] = True, keys[each.author][1]
                keys[each.author] = False, keys[each.author][1]
    return keys


def stands(done: Sequence[Effect], key: str, index: int) -> bool:
    is_valid, member = keys_at(done, index).get(key, (False, None))
    return is_valid and (member is None or member_at(done, member, index)[0] == "admitted")


# --- proposals -------------------------------------------------------------------------------


def is_proposal(acts: Acts, act: Act) -> bool:
    if isinstance(body_of(act), Bundle):
        return True
    return policy_of(acts, act) is not None


def bundle_of(acts: Acts, act: Act) -> Act | None:
    for each in acts:
        if isinstance(body_of(each), Bundle) and name(act.leaf_hash) in body_of(each).proposals:
            return each
    return None


def policies_of(acts: Acts, proposal: Act) -> list[Policy]:
    found = []
    for part in parts_of(acts, name(proposal.leaf_hash)):
        policy = policy_of(acts, part)
        assert policy is not None
        found.append(policy)
    return found


def end_of(acts: Acts, proposal: Act) -> int:
    parts = parts_of(acts, name(proposal.leaf_hash))
    return min(part.received_at + policies_of(acts, part)[0].ttl_s * 1000 for part in parts)


def outcomes_of(acts: Acts, proposal: Act) -> list[Act]:
    """Return all outcomes of a proposal, those of its bundle among them."""
    bundle = bundle_of(acts, proposal)
    named = {name(each.leaf_hash) for each in (proposal, bundle) if each is not None}
    return [
        act for act in acts if isinstance(body_of(act), Outcome) and body_of(act).proposal in named
    ]


@dataclass(frozen=True)
class Said:
    act: Act
    member: str | None
    decision: str
    roles: frozenset[str]


def voices_of(acts: Acts, proposal: Act) -> list[Said]:
    said: list[Said] = []
    done, end = effects(acts), end_of(acts, proposal)
    for act in acts[proposal.index :]:
        is_own = act is proposal
        if not is_own and not endorses(act, proposal):
            continue
        if outcomes_of(acts[: act.index], proposal) or act.received_at >= end:
            continue
        if act.author in {each.act.author for each in said} or not may_speak(done, act, proposal):
            continue
        member = keys_at(done, act.index)[act.author][1]
        roles = roles_at(done, member, proposal.index) & roles_at(done, member, act.index)
        decision = "approve" if is_own else body_of(act).decision
        said.append(Said(act, member, decision, frozenset(roles)))
    return said


def endorses(act: Act, proposal: Act) -> bool:
    body = body_of(act)
    return isinstance(body, Endorsement) and body.proposal == name(proposal.leaf_hash)


def may_speak(done: Sequence[Effect], act: Act, proposal: Act) -> bool:
    return stands(done, act.author, proposal.index) and stands(done, act.author, act.index)


# --- counting ----------------------------------------------------------------------------------


@dataclass
class Person:
    """One voter."""

    member: str | None
    keys: set[str]
    roles: frozenset[str]


def person_name(
    policy: Policy, key: str, member: str | None, author: str, authors: str | None
) -> str | None:
    by_member = policy.count_by == "member"
    if not policy.author_counts and key == author:
        return None
    if not policy.author_counts and by_member and member is not None and member == authors:
        return None
    return member if by_member else key


def count(acts: Acts, proposal: Act, policy: Policy, decision: str) -> dict[str, Person]:
    """Return the voters whose first word was ``decision``, with all keys that said so."""
    people: dict[str, Person] = {}
    first: dict[str, str] = {}
    authors = keys_at(effects(acts), proposal.index)[proposal.author][1]
    for said in voices_of(acts, proposal):
        key = said.act.author
        who = person_name(policy, key, said.member, proposal.author, authors)
        if who is None:
            continue
        if first.setdefault(who, said.decision) == decision:
            person = people.setdefault(who, Person(said.member, set(), said.roles))
            if said.decision == decision:
                person.keys.add(key)
    return people


def still_possible(acts: Acts, proposal: Act, policy: Policy, now: int) -> dict[str, Person]:
    people = count(acts, proposal, policy, "approve")
    against = count(acts, proposal, policy, "reject")
    spoken = {said.act.author for said in voices_of(acts, proposal)}
    done = effects(acts)
    authors = keys_at(done, proposal.index)[proposal.author][1]
    for key, (is_valid, member) in keys_at(done, now).items():
        who = person_name(policy, key, member, proposal.author, authors)
        is_gone = member is not None and member_at(done, member, now)[0] == "removed"
        if who is None or who in against or key in spoken or not is_valid or is_gone:
            continue
        if stands(done, key, proposal.index):
            roles = frozenset(roles_at(done, member, proposal.index))
            people.setdefault(who, Person(member, set(), roles)).keys.add(key)
    return people


def agree(rule: Rule, people: Sequence[Person]) -> bool:
    """Say whether a rule holds for these people."""
    match rule:
        case MemberRule():
            return any(each.member == rule.member for each in people)
        case KeyRule():
            return any(rule.key in each.keys for each in people)
        case RoleRule():
            return len([each for each in people if rule.role in each.roles]) >= rule.at_least
        case OutOfRule():
            named = [each for each in rule.of if isinstance(each, MemberRule | KeyRule)]
            others = [each for each in rule.of if each not in named]
            held = sum(agree(each, people) for each in others)
            return held + pair(list(dict.fromkeys(named)), people) >= rule.at_least


def pair(named: Sequence[Rule], people: Sequence[Person]) -> int:
    """Give each of the named a person of its own, in all ways; return the most that succeed."""
    if not named:
        return 0
    best = pair(named[1:], people)
    for person in people:
        if agree(named[0], [person]):
            best = max(best, 1 + pair(named[1:], [each for each in people if each is not person]))
    return best


# --- how it ends -------------------------------------------------------------------------------


def judge(acts: Acts, proposal: Act, now: int, now_ms: int) -> tuple[str, str] | None:
    """Say how a proposal ends by the entries given, at index ``now``; None if it does not yet."""
    policies = policies_of(acts, proposal)
    withdrawals = [
        act
        for act in acts
        if isinstance(body_of(act), Withdrawal)
        and body_of(act).proposal == name(proposal.leaf_hash)
    ]
    if withdrawals:
        return "withdrawn", "withdrawal"
    if now_ms >= end_of(acts, proposal):
        return "expired", "time"
    for policy in policies:
        against = list(count(acts, proposal, policy, "reject").values())
        if policy.veto is not None and agree(policy.veto, against):
            return "rejected", "veto"
    if all(agree(p.rule, list(count(acts, proposal, p, "approve").values())) for p in policies):
        return ("confirmed", "quorum") if applies(acts, proposal) else ("rejected", "inapplicable")
    if any(said.decision == "reject" for said in voices_of(acts, proposal)):
        for policy in policies:
            if not agree(policy.rule, list(still_possible(acts, proposal, policy, now).values())):
                return "rejected", "out-of-reach"
    return None


def applies(acts: Acts, proposal: Act) -> bool:
    """Say whether all changes in a proposal can be made, one after the other."""
    done = effects(acts)
    policies = policies_of(acts, proposal)
    before = list(done)
    for part in parts_of(acts, name(proposal.leaf_hash)):
        change = body_of(part)
        if not isinstance(change, CONSTITUTIONAL):
            continue
        if isinstance(change, SetPolicy | LiftPolicy) and not same_policy(before, part, policies):
            return False
        if not can(done, change):
            return False
        done.append(Effect(len(acts) - 1, part.author, change))
    return True


def same_policy(done: Sequence[Effect], part: Act, policies: list[Policy]) -> bool:
    asked = asked_for(done, body_of(part))
    return all(each == asked[0] for each in asked) and asked[0] in policies


def can(done: Sequence[Effect], change: Any) -> bool:
    """Say whether a change can be made now."""
    ever = 2**53
    if isinstance(change, MutabilityChange):
        return not setting_of(done, change.setting.type, ever).for_ever
    if isinstance(change, LiftPolicy):
        return all(in_force(done, each) is not None for each in change.governs)
    if isinstance(change, Register):
        is_removed = change.member is not None and (
            member_at(done, change.member, ever)[0] in ("removed", "unknown")
        )
        return change.key not in keys_at(done, ever) and not is_removed
    if isinstance(change, Revoke):
        return keys_at(done, ever).get(change.key, (False, None))[0]
    if isinstance(change, SetPolicy):
        return True
    status, roles = member_at(done, change.member, ever)
    match change:
        case Suspend():
            return status == "admitted"
        case Resume():
            return status == "suspended"
        case Grant():
            return status in ("admitted", "suspended") and change.role not in roles
        case Withdraw():
            return status in ("admitted", "suspended") and change.role in roles
        case _:
            return status in ("admitted", "suspended")


def due_behind(acts: Acts) -> list[Equivocation | Outcome]:
    """Return what must follow the last entry."""
    last, body = acts[-1], body_of(acts[-1])
    due: list[Equivocation | Outcome] = []
    if isinstance(body, Endorsement | Withdrawal):
        proposal = find(acts, body.proposal)
    elif is_proposal(acts, last):
        proposal = last
    else:
        return due
    if isinstance(body, Endorsement):
        due += contradictions(acts, proposal)
    if not outcomes_of(acts, proposal):
        verdict = judge(acts, proposal, last.index, last.received_at)
        if verdict is not None:
            due.append(outcome(acts, proposal, *verdict))
    return due


def contradictions(acts: Acts, proposal: Act) -> list[Equivocation | Outcome]:
    last, done = acts[-1], effects(acts)
    if not may_speak(done, last, proposal):
        return []
    member = keys_at(done, last.index)[last.author][1]
    for said in voices_of(acts[:-1], proposal):
        is_same = said.act.author == last.author or (member is not None and said.member == member)
        if is_same and said.decision != body_of(last).decision:
            first, second = name(said.act.leaf_hash), name(last.leaf_hash)
            return [Equivocation("endorsement", first, second)]
    return []


def outcome(acts: Acts, proposal: Act, verdict: Any, reason: Any) -> Outcome:
    return Outcome(name(proposal.leaf_hash), policy_named(acts, proposal), verdict, reason)


def policy_named(acts: Acts, proposal: Act) -> str:
    """Return the hash that an endorsement or outcome of the proposal names."""
    hashes = {hash_policy(msgspec.to_builtins(each)) for each in policies_of(acts, proposal)}
    return hash_policies(*hashes) if len(hashes) > 1 else hashes.pop()
