"""Consensus under any history: whatever members do, proposals end as a naive recount says.

A machine of Hypothesis appends what members, the operator and forgers come up with, and the
service's own records where they are due. Every verdict is compared with recount.py.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle as Drawn,
)
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from ledger_core import clock, ids
from ledger_core.errors import StandingError
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import Assembly, replay
from ledger_core.policy.constitution import Constitution
from ledger_core.records.model import RecordType
from ledger_core.records.rules import KeyRule, MemberRule, OutOfRule, Policy, RoleRule, Rule
from ledger_core.records.types.agent_action import AGENT_ACTION_1
from ledger_core.records.types.bundle import BUNDLE_1, Bundle
from ledger_core.records.types.charter import Kind
from ledger_core.records.types.endorsement import ENDORSEMENT_1, Endorsement
from ledger_core.records.types.equivocation import EQUIVOCATION_1, Equivocation
from ledger_core.records.types.key import KEY_1, Register, Revoke
from ledger_core.records.types.key_rotation import KEY_ROTATION_1, KeyRotation
from ledger_core.records.types.member import MEMBER_1, Grant, Remove, Resume, Suspend, Withdraw
from ledger_core.records.types.note import NOTE_1
from ledger_core.records.types.outcome import OUTCOME_1
from ledger_core.records.types.policy import POLICY_1, LiftPolicy, SetPolicy
from ledger_core.records.types.withdrawal import WITHDRAWAL_1, Withdrawal
from tests.ledger_core.policy import recount
from tests.support.assemblies import MEMBERS, OPERATOR, Log, agent, founding, steward

ROLES = ("auditor", "clerk")
AGENTS = [agent(name, number) for name in MEMBERS for number in (1, 2)]
GOVERNED = ("note/1", "agent.action/1", "member/1", "policy/1")
VERDICTS = [
    ("confirmed", "quorum"), ("rejected", "veto"), ("rejected", "out-of-reach"),
    ("rejected", "inapplicable"), ("withdrawn", "withdrawal"), ("expired", "time"),
]  # fmt: skip

members = st.sampled_from(MEMBERS)
named = st.one_of(members.map(MemberRule), st.sampled_from(AGENTS).map(KeyRule))
role_rules = st.builds(RoleRule, st.sampled_from(("member", *ROLES)), st.integers(1, 2))


@st.composite
def out_of(draw: st.DrawFn, children: st.SearchStrategy[Rule]) -> OutOfRule:
    of = tuple(draw(st.lists(children, min_size=1, max_size=4)))
    return OutOfRule(draw(st.integers(1, len(of))), of)


words = st.lists(
    st.tuples(st.sampled_from(AGENTS), st.sampled_from(["approve", "reject"])),
    min_size=2,
    max_size=7,
)
of_members = st.integers(1, 3).map(lambda n: OutOfRule(n, tuple(map(MemberRule, MEMBERS))))
of_keys = st.integers(2, 4).map(lambda n: OutOfRule(n, tuple(map(KeyRule, AGENTS))))
rules = of_members | of_keys | st.recursive(named | role_rules, out_of, max_leaves=6)


def policies(*governs: str) -> st.SearchStrategy[Policy]:
    return st.builds(
        Policy,
        name=st.just("p"),
        governs=st.just(governs),
        rule=rules,
        count_by=st.sampled_from(["member", "key"]),
        author_counts=st.booleans(),
        ttl_s=st.sampled_from([10, 60]),
        withdrawn_by=st.sampled_from(["author", "member", "nobody"]),
        veto=st.none() | members.map(MemberRule) | rules,
    )


changes = st.one_of(
    st.builds(Suspend, members),
    st.builds(Resume, members),
    st.builds(Remove, members),
    st.builds(Grant, members, st.sampled_from(ROLES)),
    st.builds(Withdraw, members, st.sampled_from(ROLES)),
)


class Consensus(RuleBasedStateMachine):
    keys = Drawn("keys")
    proposals = Drawn("proposals")

    @initialize(
        target=keys,
        note=policies("note/1"),
        action=policies("agent.action/1"),
        more=st.sampled_from([(), GOVERNED[2:3], GOVERNED[2:], GOVERNED[2:]]),
        data=st.data(),
    )
    def found(
        self, note: Policy, action: Policy, more: tuple[str, ...], data: st.DataObject
    ) -> Any:
        kinds: list[Kind] = ["private", "consortium"] if len(more) == 2 else ["private"]
        kind = data.draw(st.sampled_from(kinds))
        own = (data.draw(policies(each)) for each in more)
        self.log = Log(founding(note, action, *own, kind=kind))
        self.new_keys = 0
        return multiple(OPERATOR, *map(steward, MEMBERS), *AGENTS)

    # --- appending ---------------------------------------------------------------------

    def append(self, kind: RecordType, author: str, body: Any) -> Act | None:
        """Append a record with all that is due behind it; None if it is refused."""
        before = self.log.constitution.copy(), dict(self.log.assembly.proposals)
        try:
            self.log.append_alone(kind, author, body)
        except StandingError:
            assert (self.log.constitution, self.log.assembly.proposals) == before
            return None
        act = self.log.acts[-1]
        due = list(self.log.assembly.due)
        assert due == recount.due_behind(self.log.acts)
        for each in due:
            is_outcome = not isinstance(each, Equivocation)
            self.log.append_alone(OUTCOME_1 if is_outcome else EQUIVOCATION_1, OPERATOR, each)
        assert not self.log.assembly.due
        return act

    def propose(self, kind: RecordType, author: str, body: Any) -> Any:
        act = self.append(kind, author, body)
        is_waiting = act is not None and recount.is_proposal(self.log.acts, act)
        assert act is None or is_waiting == (act.leaf_hash in self.log.assembly.proposals)
        return act.leaf_hash if act is not None and is_waiting else multiple()

    def stands(self, key: str) -> bool:
        done = recount.effects(self.log.acts)
        return recount.stands(done, key, len(self.log.acts))

    def find(self, leaf_hash: bytes) -> Act:
        return recount.find(self.log.acts, ids.format_digest(leaf_hash))

    # --- what members do -----------------------------------------------------------------

    @rule(target=proposals, author=keys, kind=st.sampled_from([NOTE_1, AGENT_ACTION_1]))
    def hand_in(self, author: str, kind: RecordType) -> Any:
        is_writer = not self.log.constitution.keys[author].roles.isdisjoint(kind.writers)
        stood = self.stands(author) and is_writer
        before = len(self.log.acts)
        proposed = self.propose(kind, author, {})
        assert (len(self.log.acts) > before) == stood
        return proposed

    @rule(target=proposals, kind=st.sampled_from([NOTE_1, AGENT_ACTION_1]), words=words)
    def hand_in_and_debate(self, kind: RecordType, words: list[tuple[str, Any]]) -> Any:
        proposed = self.hand_in(agent("acme"), kind)
        if isinstance(proposed, bytes):
            self.debate(proposed, words)
        return proposed

    @rule(target=proposals, author=st.sampled_from([OPERATOR, steward("acme")]), change=changes)
    def change_member(self, author: str, change: Any) -> Any:
        return self.propose(MEMBER_1, author, change)

    @rule(
        target=proposals,
        author=st.sampled_from([OPERATOR, steward("acme")]),
        governs=st.lists(st.sampled_from(GOVERNED), min_size=1, max_size=2, unique=True),
        data=st.data(),
    )
    def change_policy(self, author: str, governs: list[str], data: st.DataObject) -> Any:
        lift, change = LiftPolicy(tuple(governs)), data.draw(policies(*governs).map(SetPolicy))
        return self.propose(POLICY_1, author, data.draw(st.sampled_from([lift, change, change])))

    @rule(proposal=proposals, key=keys, decision=st.sampled_from(["approve"] * 2 + ["reject"]))
    def endorse(self, proposal: bytes, key: str, decision: Any) -> None:
        is_bundled = recount.bundle_of(self.log.acts, self.find(proposal)) is not None
        stood = self.stands(key)
        body = self.log.endorsement(proposal, decision)
        act = self.append(ENDORSEMENT_1, key, body)
        assert (act is not None) == (stood and not is_bundled)

    @rule(proposal=proposals, words=words)
    def debate(self, proposal: bytes, words: list[tuple[str, Any]]) -> None:
        for key, decision in words:
            self.endorse(proposal, key, decision)

    @rule(proposal=proposals)
    def endorse_by_all(self, proposal: bytes) -> None:
        for name in MEMBERS:
            self.endorse(proposal, agent(name), "approve")

    @precondition(lambda self: len(self.log.acts) < 40)
    @rule(target=proposals, one=policies("note/1"), other=policies("note/1"))
    def change_a_policy_twice(self, one: Policy, other: Policy) -> Any:
        """Agree to two changes of one policy, one after the other."""
        found = [self.propose(POLICY_1, OPERATOR, SetPolicy(each)) for each in (one, other)]
        waiting = [each for each in found if isinstance(each, bytes)]
        for each in waiting:
            self.endorse_by_all(each)
        return multiple(*waiting)

    @rule(target=proposals, some=st.lists(proposals, min_size=2, max_size=3, unique=True))
    def join(self, some: list[bytes]) -> Any:
        body = Bundle(tuple(map(ids.format_digest, some)))
        return self.propose(BUNDLE_1, self.find(some[0]).author, body)

    @rule(
        target=proposals,
        author=st.sampled_from(AGENTS),
        kinds=st.lists(st.sampled_from([NOTE_1, AGENT_ACTION_1]), min_size=2, max_size=3),
    )
    def hand_in_together(self, author: str, kinds: list[RecordType]) -> Any:
        return self.propose_together([(kind, author, {}) for kind in kinds])

    @rule(target=proposals, some=st.lists(changes, min_size=2, max_size=3))
    def change_members_together(self, some: list[Any]) -> Any:
        return self.propose_together([(MEMBER_1, OPERATOR, change) for change in some])

    def propose_together(self, records: list[tuple[RecordType, str, Any]]) -> Any:
        found = [self.propose(*each) for each in records]
        waiting = [each for each in found if isinstance(each, bytes)]
        if len(waiting) < 2:
            return multiple(*waiting)
        bundle = self.join(waiting)
        return multiple(*waiting, bundle) if isinstance(bundle, bytes) else multiple(*waiting)

    @rule(target=proposals, change=changes)
    def change_member_twice(self, change: Any) -> Any:
        found = [self.propose(MEMBER_1, OPERATOR, change) for _ in range(2)]
        return multiple(*(each for each in found if isinstance(each, bytes)))

    @rule(proposal=proposals, key=keys)
    def withdraw_by_anyone(self, proposal: bytes, key: str) -> None:
        self.withdraw(proposal, key)

    def withdraw(self, proposal: bytes, key: str) -> None:
        self.append(WITHDRAWAL_1, key, Withdrawal(ids.format_digest(proposal)))

    @rule(proposal=proposals)
    def take_back(self, proposal: bytes) -> None:
        self.withdraw(proposal, self.find(proposal).author)

    @rule(target=keys, key=keys, how=st.sampled_from(["rotate", "register", "revoke"]))
    def change_key(self, key: str, how: str) -> Any:
        if key == OPERATOR:
            return multiple()  # The service's own key: what it writes for itself goes on.
        self.new_keys += 1
        new = f"ed25519:new-{self.new_keys}"
        if how == "revoke":
            act = self.append(KEY_1, OPERATOR, Revoke(key, "lost"))
        elif how == "rotate":
            act = self.append(KEY_ROTATION_1, key, KeyRotation(new, "…"))
        else:
            member = self.log.constitution.keys[key].member
            body = Register(new, ("agent",), "…", member)
            act = self.append(KEY_1, steward(member or "acme"), body)
        return multiple() if act is None or how == "revoke" else new

    @rule(seconds=st.sampled_from([1, 5, 10, 50, 60]))
    def wait(self, seconds: int) -> None:
        self.log.now_ms += seconds * 1000

    @rule()
    def restart(self) -> None:
        """Go on with an assembly that knows what a service stores, and nothing else."""
        assembly = self.log.assembly
        self.log.assembly = Assembly(assembly.constitution, dict(assembly.proposals))

    # --- what forgers do -------------------------------------------------------------------

    @rule(proposal=proposals)
    def end_what_is_overdue(self, proposal: bytes) -> None:
        """Do what the service does at its own time."""
        self.log.now_ms = max(self.log.now_ms, self.log.proposal(proposal).ends_at)
        self.declare(proposal, ("expired", "time"))

    @rule(proposal=proposals, verdict=st.sampled_from(VERDICTS))
    def declare_an_outcome(self, proposal: bytes, verdict: tuple[Any, Any]) -> None:
        self.declare(proposal, verdict)

    def declare(self, proposal: bytes, verdict: tuple[Any, Any]) -> None:
        acts, act = self.log.acts, self.find(proposal)
        is_open = recount.bundle_of(acts, act) is None and not recount.outcomes_of(acts, act)
        found = recount.judge(acts, act, len(acts), self.log.now_ms) if is_open else None
        body = recount.outcome(acts, act, *verdict)
        assert (self.append(OUTCOME_1, OPERATOR, body) is not None) == (found == verdict)

    @rule(proposal=proposals, other=proposals)
    def invent_evidence(self, proposal: bytes, other: bytes) -> None:
        first, second = ids.format_digest(proposal), ids.format_digest(other)
        body = Equivocation("endorsement", first, second)
        assert self.append(EQUIVOCATION_1, OPERATOR, body) is None

    @rule(proposal=proposals, other=proposals, key=keys)
    def move_an_endorsement(self, proposal: bytes, other: bytes, key: str) -> None:
        """Take an endorsement of one proposal for one of another policy or end."""
        one, two = self.log.endorsement(proposal), self.log.endorsement(other)
        body = Endorsement(
            proposal=one.proposal, policy=two.policy, decision="approve", ends_at=two.ends_at
        )
        if (one.policy, one.ends_at) != (two.policy, two.ends_at):
            assert self.append(ENDORSEMENT_1, key, body) is None

    # --- what always holds -------------------------------------------------------------------

    @invariant()
    def no_proposal_ends_twice_and_all_end_as_the_log_says(self) -> None:
        acts = self.log.acts
        for leaf_hash, proposal in self.log.assembly.proposals.items():
            outcomes = recount.outcomes_of(acts, self.find(leaf_hash))
            assert len(outcomes) <= 1
            verdict = recount.body_of(outcomes[0]).verdict if outcomes else None
            index = outcomes[0].index if outcomes else None
            assert (proposal.verdict, proposal.outcome) == (verdict, index)

    @invariant()
    def nothing_waits_that_is_agreed_to_or_vetoed(self) -> None:
        acts = self.log.acts
        for leaf_hash, proposal in self.log.assembly.proposals.items():
            if proposal.is_open and proposal.bundle is None:
                act = self.find(leaf_hash)
                found = recount.judge(acts, act, len(acts), acts[-1].received_at)
                assert found in (None, ("expired", "time"), ("rejected", "out-of-reach"))
                assert clock.format_time(proposal.ends_at) == clock.format_time(
                    recount.end_of(acts, act)
                )

    def teardown(self) -> None:
        if not hasattr(self, "log"):
            return
        again = Assembly(Constitution(), {})
        for act in self.log.acts:
            again.take(act, again.check(act))
        assert again.constitution == self.log.constitution
        assert again.proposals == self.log.assembly.proposals
        short = Constitution()
        for index in again.constitutional:
            replay(short, self.log.acts[index])
        assert short == self.log.constitution


TestConsensus = Consensus.TestCase
TestConsensus.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
