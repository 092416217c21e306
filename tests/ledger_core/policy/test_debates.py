"""One proposal, much said of it: who is counted is what a naive recount of the log counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_core.errors import StandingError
from ledger_core.policy.assembly import due_type
from ledger_core.records.model import RecordType
from ledger_core.records.rules import Policy
from ledger_core.records.types.agent_action import AGENT_ACTION_1
from ledger_core.records.types.bundle import BUNDLE_1, Bundle
from ledger_core.records.types.endorsement import ENDORSEMENT_1
from ledger_core.records.types.key import KEY_1, Revoke
from ledger_core.records.types.member import MEMBER_1
from ledger_core.records.types.note import NOTE_1
from tests.ledger_core.policy import recount
from tests.ledger_core.policy.test_consensus_machine import AGENTS, changes, policies
from tests.support.assemblies import OPERATOR, Log, agent, founding

said = st.tuples(st.sampled_from(AGENTS), st.sampled_from(["approve", "reject"]))
revoked = st.sampled_from(AGENTS).map(lambda key: Revoke(key, "lost"))
waited_ms = st.sampled_from([1, 1_000, 9_999, 10_000])
EVENTS: list[st.SearchStrategy[Any]] = [*[said] * 8, changes, revoked, waited_ms]
"""As often as they stand here: a union of strategies would weigh each branch the same."""

events = st.lists(
    st.sampled_from(range(len(EVENTS))).flatmap(EVENTS.__getitem__), min_size=3, max_size=12
)


def append(log: Log, kind: RecordType, author: str, body: Any) -> None:
    """Append a record with what is due behind it, if the recount finds the same due."""
    try:
        log.append_alone(kind, author, body)
    except StandingError:
        return
    due = list(log.assembly.due)
    assert due == recount.due_behind(log.acts)
    for each in due:
        log.append_alone(due_type(each), OPERATOR, each)


def happen(log: Log, proposal: bytes, event: Any) -> None:
    match event:
        case int():
            log.now_ms += event
        case (key, decision):
            append(log, ENDORSEMENT_1, key, log.endorsement(proposal, decision))
        case Revoke():
            append(log, KEY_1, OPERATOR, event)
        case _:
            append(log, MEMBER_1, OPERATOR, event)


@pytest.mark.parametrize("count_by", ["member", "key"])
@given(policy=policies("note/1"), before=st.lists(changes, max_size=2), told=events)
@settings(max_examples=150)
def test_a_debate_ends_as_a_recount_of_it_finds(
    count_by: Any, policy: Policy, before: list[Any], told: list[Any]
) -> None:
    settled = {name: getattr(policy, name) for name in policy.__struct_fields__}
    log = Log(founding(Policy(**{**settled, "count_by": count_by})))
    for event in before:
        happen(log, b"", event)
    append(log, NOTE_1, agent("cobalt"), {})
    if log.acts[-1].kind is MEMBER_1 or len(log.acts) == 1:
        return  # The author's member was suspended or removed before.
    proposal = next(act.leaf_hash for act in log.acts if act.kind is NOTE_1)
    for event in told:
        happen(log, proposal, event)
    assert log.types().count("outcome/1") <= 1


@given(first=policies("note/1"), second=policies("agent.action/1"), told=events)
@settings(max_examples=100)
def test_a_debate_on_a_bundle_ends_as_a_recount_of_it_finds(
    first: Policy, second: Policy, told: list[Any]
) -> None:
    log = Log(founding(first, second))
    for kind in (NOTE_1, AGENT_ACTION_1):
        append(log, kind, agent("cobalt"), {})
    parts = [act for act in log.acts if act.kind in (NOTE_1, AGENT_ACTION_1)]
    if "outcome/1" in log.types():
        return  # One of them took no more than its author's word.
    names = tuple(recount.name(act.leaf_hash) for act in parts)
    append(log, BUNDLE_1, agent("cobalt"), Bundle(names))
    bundle = next(act.leaf_hash for act in log.acts if act.kind is BUNDLE_1)
    for event in told:
        happen(log, bundle, event)
    outcomes = [act for act in log.acts if act.kind.name == "outcome/1"]
    assert len(outcomes) <= 1
    assert {log.verdict(act.leaf_hash) for act in parts} == {log.verdict(bundle)}
