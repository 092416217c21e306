"""Policies and audiences: one meaning has one hash, and nothing is without bounds."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import ids, limits
from ledger_core.errors import PayloadError
from ledger_core.records.rules import (
    AudienceSetting,
    MemberRule,
    OutOfRule,
    Policy,
    RoleRule,
    Rule,
    check_audience,
    check_policy,
    hash_policy,
    walk,
)
from tests.ledger_core.policy.strategies import policies, rules
from tests.vectors.governance_types import NESTED_POLICY, POLICY
from tests.vectors.story import hash_policy as spell_hash

GOLDEN = "5c900c0238555f9fb89c82657075770de93d8df13a698d60a33f112f5ae2f3ed"


@given(policies)
def test_a_policy_is_what_its_text_says(policy: Policy) -> None:
    assert msgspec.json.decode(msgspec.json.encode(policy), type=Policy) == policy


@given(policies, st.randoms(use_true_random=False))
def test_a_policy_has_one_hash_however_its_fields_are_ordered(policy: Policy, by: Any) -> None:
    def disorder(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(name, disorder(each)) for name, each in value.items()]
            by.shuffle(items)
            return dict(items)
        return [disorder(each) for each in value] if isinstance(value, list) else value

    text = json.dumps(disorder(msgspec.to_builtins(policy)), indent=1)
    assert hash_policy(msgspec.json.decode(text, type=Policy)) == hash_policy(policy)


@given(policies, policies)
def test_two_policies_have_two_hashes(one: Policy, other: Policy) -> None:
    assert (hash_policy(one) == hash_policy(other)) == (one == other)


@given(policies)
def test_a_policys_hash_is_over_json_as_rfc_8785_spells_it(policy: Policy) -> None:
    spelled = {**msgspec.to_builtins(policy)}
    text = json.dumps(spelled, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hash_policy(policy) == sha256(b"ledgergrid/policy@v1\n" + text.encode()).digest()
    assert "null" not in text
    assert ('"withdrawn_by"' in text) == (policy.withdrawn_by != "author")


def test_the_hash_of_a_policy_does_not_change() -> None:
    for spelled in (POLICY, {**NESTED_POLICY, "veto": {**NESTED_POLICY["veto"], "at_least": 1}}):
        policy = msgspec.convert(spelled, Policy)
        assert f"sha256:{ids.encode_base64url(hash_policy(policy))}" == spell_hash(spelled)
    assert hash_policy(msgspec.convert(POLICY, Policy)).hex() == GOLDEN


@given(rules)
def test_a_walk_meets_every_part_of_a_rule_once(rule: Rule) -> None:
    met = [node for node, _ in walk(rule)]
    assert len(met) == json.dumps(msgspec.to_builtins(rule)).count('"rule":')
    assert met[0] is rule


def nested(depth: int) -> Rule:
    rule: Rule = MemberRule("acme")
    for _ in range(depth - 1):
        rule = OutOfRule(1, (rule,))
    return rule


def policy_of(rule: Rule) -> Policy:
    return Policy(
        name="p", governs=("note/1",), rule=rule, count_by="member", author_counts=True, ttl_s=1
    )


def test_a_rule_is_as_deep_as_the_limit_and_no_deeper() -> None:
    check_policy(policy_of(nested(limits.RULE_DEPTH)))
    with pytest.raises(PayloadError, match="nested deeper"):
        check_policy(policy_of(nested(limits.RULE_DEPTH + 1)))


def test_a_rule_has_as_many_parts_as_the_limit_and_no_more() -> None:
    half = OutOfRule(1, (RoleRule("auditor"),) * (limits.RULE_NODES // 2 - 1))
    rest = OutOfRule(1, (RoleRule("auditor"),) * (limits.RULE_NODES // 2 - 2))
    check_policy(policy_of(OutOfRule(1, (half, rest))))
    with pytest.raises(PayloadError, match="parts"):
        check_policy(policy_of(OutOfRule(1, (half, half))))


def test_an_audience_of_parts_says_nothing_of_the_entry() -> None:
    check_audience(AudienceSetting(type="note/1", parts={"body": "public"}))
    with pytest.raises(PayloadError, match="for the entry"):
        check_audience(AudienceSetting(type="note/1"))
