"""Changes under any history: what holds of every entry, at every index, is what a review finds.

A machine of Hypothesis has people change entries, agree, refuse and change the rules under
their feet. Refusals, outcomes and effects are compared with review.py.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import event, settings
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
    run_state_machine_as_test,
)

from ledger_core import clock, ids
from ledger_core.errors import LedgerGridError
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import Assembly, replay
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect, retired_at
from ledger_core.records.model import RecordType
from ledger_core.records.rules import MemberRule, MutabilitySetting, Policy
from ledger_core.records.targets import Parts
from ledger_core.records.types.agent_action import AGENT_ACTION_1
from ledger_core.records.types.bundle import BUNDLE_1, Bundle
from ledger_core.records.types.charter import FoundingMember, Kind
from ledger_core.records.types.endorsement import ENDORSEMENT_1
from ledger_core.records.types.erasure import ERASURE_1, Erasure
from ledger_core.records.types.erasure_done import ERASURE_DONE_1, ErasureDone
from ledger_core.records.types.hold import HOLD_1, Hold
from ledger_core.records.types.member import MEMBER_1, Grant, Withdraw
from ledger_core.records.types.mutability import MUTABILITY_1, MutabilityChange
from ledger_core.records.types.note import NOTE_1
from ledger_core.records.types.outcome import OUTCOME_1
from ledger_core.records.types.policy import POLICY_1, LiftPolicy, SetPolicy
from ledger_core.records.types.redaction import REDACTION_1, Redact, Unredact
from ledger_core.records.types.retention import RETENTION_1, Retention
from ledger_core.records.types.rollback import ROLLBACK_1, Rollback
from tests.ledger_core.policy import recount, review
from tests.support.assemblies import (
    MEMBERS,
    Log,
    founding,
    make_policy,
    two_of_three,
)

TOPICS = ("amends", "rollback/1", "redaction/1", "hold/1", "erasure/1")
MORE_TOPICS = (*TOPICS, "note/1", "amends:note/1", "rollback/1:note/1", "erasure/1:note/1",
               "mutability/1", "policy/1")  # fmt: skip
ACTION = {"action": "pay", "status": "succeeded"}
BODIES: dict[str, Any] = {"note/1": {}, "agent.action/1": ACTION}

DEEDS = ("amend", "amend", "roll back", "redact", "unredact", "hold", "release", "erase", "erase")

which = st.integers(0, 200)
some = st.lists(which, min_size=1, max_size=2, unique=True)
parts = st.sampled_from([("body",)] * 3 + [("more",), ("body", "more"), ("other",)])
cases = st.sampled_from(["one", "two"])
wishes = st.one_of(
    st.tuples(st.just("amend"), which, st.sampled_from(["head", "head", "head", "named"])),
    st.tuples(st.just("roll back"), some, which),
    st.tuples(st.just("redact"), some, parts, st.sampled_from([(), ("auditor",)])),
    st.tuples(st.just("unredact"), some, parts),
    st.tuples(st.sampled_from(["hold", "release"]), some, cases),
    st.tuples(st.just("erase"), some, parts),
)
people = st.sampled_from(["own"] * 4 + ["colleague", "other", "operator", "steward"])
those = st.sampled_from(
    [("author", "operator"), ("member",), ("role:member", "operator"), ("role:auditor",), ()]
)
many = st.sampled_from([("role:member", "operator"), ("role:member",), ("member", "operator")])
rules = st.sampled_from([two_of_three(), two_of_three(), *map(MemberRule, MEMBERS)])


def mutability(who: st.SearchStrategy[Any]) -> st.SearchStrategy[MutabilitySetting]:
    fields = dict.fromkeys(("amend", "roll_back", "redact", "erase", "hold"), who)
    return st.builds(
        MutabilitySetting,
        type=st.sampled_from(["*", "note/1", "note/1", "agent.action/1"]),
        for_ever=st.sampled_from([False] * 7 + [True]),
        keep_s=st.sampled_from([{}, {"body": 5}, {"body": 60, "more": 5}]),
        **fields,
    )


@st.composite
def policies(draw: st.DrawFn, *topics: str) -> Policy:
    counts, ttl_s = draw(st.booleans()), draw(st.sampled_from([10, 60]))
    return make_policy(*topics, rule=draw(rules), author_counts=counts, ttl_s=ttl_s)


def since(assembly: Assembly, effect: Effect) -> int | None:
    proposal = assembly.proposals.get(effect.leaf_hash)
    return effect.index if proposal is None else (
        proposal.outcome if proposal.verdict == "confirmed" else None
    )  # fmt: skip


def told(assembly: Assembly, act: Act, index: int) -> Any:
    """Say what holds of an entry at an index, by the code."""
    effect, retired = assembly.alterations.effects[act.leaf_hash], {}
    for part in act.parts:
        at = retired_at(assembly.constitution, effect, act.received_at, part, index)
        if at is not None:
            retired[part] = at
    version = effect.version_at(since(assembly, effect), index)
    hidden = effect.veils_at(index).items()
    return (
        ids.format_digest(version) if version and act.amends is None else None,
        {part: (set(veil.visible_to or ()), veil.by) for part, veil in hidden},
        set(effect.cases_at(index)),
        {part: gone.by for part, gone in effect.erased_at(index).items()},
        retired,
    )


def reviewed(acts: recount.Acts, done: list[review.Done], act: Act, index: int) -> Any:
    """Say what holds of an entry at an index, by the review."""
    return (
        review.version_at(acts, done, act, index) if act.amends is None else None,
        review.hidden_at(done, act, index),
        review.cases_at(done, act, index),
        review.erased_at(done, act, index),
        review.retired_at(acts, done, act, index),
    )


def replayed(acts: recount.Acts) -> Assembly:
    again = Assembly(Constitution(), {})
    for act in acts:
        again.take(act, again.check(act))
        again.alterations.learn(act)
    return again


class Changing(RuleBasedStateMachine):
    proposals = Drawn("proposals")
    log: Log

    @initialize(
        kind=st.sampled_from(["private", "private", "consortium"]),
        topics=st.sampled_from([(), TOPICS, TOPICS, TOPICS, TOPICS[1:], ("note/1", *TOPICS[1:])]),
        note=mutability(many),
        every=mutability(those),
        data=st.data(),
    )
    def found(
        self,
        kind: Kind,
        topics: tuple[str, ...],
        note: MutabilitySetting,
        every: MutabilitySetting,
        data: st.DataObject,
    ) -> None:
        governed = [data.draw(policies(each)) for each in topics]
        if kind == "consortium":
            governed.append(data.draw(policies("member/1", "policy/1", "mutability/1")))
        settings = {each.type: each for each in (every, note)}
        members = (FoundingMember("acme", ("auditor",)), *map(FoundingMember, MEMBERS[1:]))
        self.log = self.make_log(kind, tuple(governed), tuple(settings.values()), members)
        for author in (self.log.agent_of("acme"), self.log.agent_of("birch")):
            self.write(author, NOTE_1)

    def make_log(
        self,
        kind: Kind,
        governed: tuple[Policy, ...],
        settings: tuple[MutabilitySetting, ...],
        members: tuple[FoundingMember, ...],
    ) -> Log:
        charter = founding(*governed, kind=kind, mutability=settings)
        log = Log(msgspec.structs.replace(charter, members=members))
        log.parts = ("body", "more")
        return log

    # --- appending ---------------------------------------------------------------------

    @property
    def acts(self) -> list[Act]:
        return self.log.acts

    def candidate(self, kind: RecordType, author: str, body: Any, amends: bytes | None) -> Act:
        named = None if amends is None else ids.format_digest(amends)
        payload, parts = {"body": body}, self.log.parts
        now_ms = self.log.now_ms
        return Act(len(self.acts), b"?" * 32, now_ms, kind, author, payload, named, parts=parts)

    def append(
        self,
        kind: RecordType,
        author: str,
        body: Any,
        amends: bytes | None = None,
        *,
        is_reviewed: bool = True,
    ) -> Act | None:
        """Append a record with all that is due behind it; None if it is refused."""
        act = self.candidate(kind, author, body, amends)
        expected = review.refusal(self.acts, act)
        before, size = self.snapshot(), len(self.acts)
        try:
            self.log.append(kind, author, body, amends)
        except LedgerGridError as error:
            event(f"{kind.name} refused: {error.code}")
            assert not is_reviewed or error.code == expected, (error, expected)
            assert self.snapshot() == before
            self.check_refused(act, error, self.acts[size:])
            return None
        assert not is_reviewed or expected is None, expected
        event(f"{kind.name} taken")
        taken, *due = self.acts[size:]
        assert [each.payload["body"] for each in due] == review.due_behind(self.acts[: size + 1])
        for each in due:
            event(f"due: {self.how(each)}")
        return taken

    def check_refused(self, act: Act, error: LedgerGridError, left: list[Act]) -> None:
        """Check what a refusal left in the log."""
        assert left == []

    def how(self, act: Act) -> str:
        body = act.payload["body"]
        return f"{body.verdict}, {body.reason}" if act.kind is OUTCOME_1 else act.kind.name

    def snapshot(self) -> Any:
        alterations = self.log.assembly.alterations
        proposals = dict(self.log.assembly.proposals)
        return (
            self.log.constitution,
            proposals,
            dict(alterations.effects),
            dict(alterations.altered),
        )

    def propose(
        self, kind: RecordType, author: str, body: Any, amends: bytes | None = None
    ) -> list[bytes]:
        """Append a record; return its leaf hash if it waits."""
        act = self.append(kind, author, body, amends)
        if act is None or not recount.is_proposal(self.acts, act):
            return []
        assert act.leaf_hash in self.log.assembly.proposals
        return [act.leaf_hash]

    # --- who and what --------------------------------------------------------------------

    def entry(self, number: int) -> Act:
        """Return an entry: of governance, one time in twelve."""
        ordinary = [act for act in self.acts if not act.kind.is_governance]
        found = self.acts if number % 12 == 11 else ordinary
        return found[number // 2 % len(found)]

    def author(self, who: str, entry: Act) -> str:
        member = self.log.constitution.keys[entry.author].member or "cobalt"
        match who:
            case "own":
                return entry.author
            case "colleague":
                return self.log.agent_of(member, 2)
            case "other":
                return self.log.agent_of(MEMBERS[MEMBERS.index(member) - 1])
            case "steward":
                return self.log.steward_of(member)
            case _:
                return self.log.operator

    def write(self, author: str, kind: RecordType, amends: bytes | None = None) -> list[bytes]:
        return self.propose(kind, author, BODIES[kind.name], amends)

    def ask(self, wish: Any, who: str) -> list[bytes]:
        """Ask for a change; return its leaf hash if it waits."""
        if wish[0] == "amend":
            return self.amend(self.entry(wish[1]), wish[2], who)
        entries = list({each.index: each for each in map(self.entry, wish[1])}.values())
        author = self.author(who, entries[0])
        named = tuple(ids.format_digest(each.leaf_hash) for each in entries)
        match wish:
            case "roll back", _, to:
                return self.propose(ROLLBACK_1, author, Rollback(named, to % (len(self.acts) + 1)))
            case ("hold" | "release") as action, _, case:
                return self.propose(HOLD_1, author, Hold(action, named, case))
        targets = tuple(Parts(each, wish[2]) for each in named)
        match wish:
            case "redact", _, _, roles:
                return self.propose(REDACTION_1, author, Redact(targets, roles))
            case "unredact", _, _:
                return self.propose(REDACTION_1, author, Unredact(targets))
            case _:
                return self.propose(ERASURE_1, author, Erasure(targets, "request"))

    def amend(self, entry: Act, how: str, who: str) -> list[bytes]:
        kind = NOTE_1 if entry.kind.is_governance else entry.kind
        amends = entry.leaf_hash
        if how == "head" and not entry.kind.is_governance:
            first = review.original_of(self.acts, entry)
            done = review.what_took_effect(self.acts)
            current = review.version_at(self.acts, done, first, review.EVER)
            amends = ids.parse_digest(current) if current else first.leaf_hash
        if who in ("operator", "steward"):
            who = "own"
        author = self.author(who, entry)
        if entry.kind.is_governance:
            author = self.log.agent_of("acme")
        return self.write(author, kind, amends)

    # --- what people do --------------------------------------------------------------------

    @rule(
        target=proposals, number=st.integers(0, 5), kind=st.sampled_from([NOTE_1, AGENT_ACTION_1])
    )
    def hand_in(self, number: int, kind: RecordType) -> Any:
        return multiple(*self.write(self.log.agent_of(MEMBERS[number % 3], 1 + number // 3), kind))

    @rule(target=proposals, wish=wishes, who=people)
    def wish_for(self, wish: Any, who: str) -> Any:
        return multiple(*self.ask(wish, who))

    @rule(wish=wishes, who=people)
    def wish_and_agree(self, wish: Any, who: str) -> None:
        for proposal in self.ask(wish, who):
            self.agree_to(proposal)

    @rule(target=proposals, some=st.lists(wishes, min_size=2, max_size=4), is_agreed=st.booleans())
    def wish_together(self, some: list[Any], is_agreed: bool) -> Any:
        """Ask for several changes, and join those that wait."""
        found = [leaf_hash for wish in some for leaf_hash in self.ask(wish, "own")]
        return self.join_them(found, is_agreed)

    @rule(number=which, deeds=st.lists(st.sampled_from(DEEDS), min_size=2, max_size=4))
    def do_much_to_one(self, number: int, deeds: list[str]) -> None:
        """Ask for several changes of one entry at once, and agree to all together."""
        found: list[bytes] = []
        for deed in deeds:
            found += self.ask(self.deed(deed, number), "own")
        self.join_them(found, True)

    @rule(wish=wishes, setting=mutability(those))
    def forbid_what_is_waiting(self, wish: Any, setting: MutabilitySetting) -> None:
        found = self.ask(wish, "own")
        self.append(MUTABILITY_1, self.log.operator, MutabilityChange(setting))
        for proposal in found:
            self.agree_to(proposal)

    def deed(self, deed: str, number: int) -> Any:
        match deed:
            case "amend":
                return "amend", number, "head"
            case "roll back":
                return "roll back", [number], len(self.acts) - 1 - number % 3
            case "hold" | "release":
                return deed, [number], "one"
            case "redact":
                return "redact", [number], ("body",), ()
            case _:
                return deed, [number], ("body",)

    @rule(target=proposals, some=st.lists(proposals, min_size=2, max_size=3, unique=True))
    def join(self, some: list[bytes]) -> Any:
        return self.join_them(some, False)

    def join_them(self, found: list[bytes], is_agreed: bool) -> Any:
        waiting = [each for each in found if self.log.proposal(each).is_open]
        if len(waiting) < 2:
            return multiple(*waiting)
        author = self.log.proposal(waiting[0]).author
        body = Bundle(tuple(map(ids.format_digest, waiting)))
        bundle = self.append(BUNDLE_1, author, body, is_reviewed=False)
        if bundle is None:
            return multiple(*waiting)
        if is_agreed:
            self.agree_to(bundle.leaf_hash)
        return bundle.leaf_hash

    def agree_to(self, proposal: bytes) -> None:
        for name in MEMBERS:
            self.speak(proposal, name, "approve")

    @rule(proposal=proposals)
    def agree(self, proposal: bytes) -> None:
        self.agree_to(proposal)

    @rule(
        proposal=proposals,
        member=st.sampled_from(MEMBERS),
        decision=st.sampled_from(["approve", "reject"]),
    )
    def speak(self, proposal: bytes, member: str, decision: Any) -> None:
        body = self.log.endorsement(proposal, decision)
        self.append(ENDORSEMENT_1, self.log.agent_of(member), body, is_reviewed=False)

    @rule(seconds=st.sampled_from([1, 6, 10, 61]))
    def wait(self, seconds: int) -> None:
        self.log.now_ms += seconds * 1000

    @rule(proposal=proposals)
    def expire(self, proposal: bytes) -> None:
        """Do what the service does when the time of a proposal is up."""
        found = self.log.proposal(proposal)
        if found.is_open and found.bundle is None:
            self.log.now_ms = max(self.log.now_ms, found.ends_at)
            self.log.expire(proposal)
            assert self.log.verdict(proposal) == "expired"

    # --- what is due, and what the operator does -------------------------------------------

    @rule(
        kind=st.sampled_from(["note/1", "note/1", "agent.action/1", "charter/1"]),
        part=st.sampled_from(["body", "body", "more"]),
        ago_s=st.sampled_from([5, 60, 1]),
    )
    def retire(self, kind: str, part: str, ago_s: int) -> None:
        before = clock.format_time(self.log.now_ms - ago_s * 1000)
        self.append(RETENTION_1, self.log.operator, Retention(kind, part, before))

    @rule(number=which)
    def do_it(self, number: int) -> None:
        """Say of an order, or of something else, that it is done."""
        orders = [act for act in self.acts if act.kind in (ERASURE_1, RETENTION_1)] or self.acts
        order = ids.format_digest(orders[number % len(orders)].leaf_hash)
        told = ErasureDone(order=order, parts=1, stores=("database",))
        self.append(ERASURE_DONE_1, self.log.operator, told)

    @rule(target=proposals, setting=mutability(many | those), is_agreed=st.booleans())
    def set_mutability(self, setting: MutabilitySetting, is_agreed: bool) -> Any:
        found = self.propose(MUTABILITY_1, self.log.operator, MutabilityChange(setting))
        return self.perhaps(found, is_agreed)

    @rule(
        target=proposals,
        topics=st.lists(st.sampled_from(MORE_TOPICS), min_size=1, max_size=2, unique=True),
        is_lift=st.booleans(),
        is_agreed=st.booleans(),
        data=st.data(),
    )
    def change_policy(
        self, topics: list[str], is_lift: bool, is_agreed: bool, data: st.DataObject
    ) -> Any:
        change = LiftPolicy(tuple(topics)) if is_lift else SetPolicy(data.draw(policies(*topics)))
        is_forbidden = is_lift and "policy/1" in topics and self.log.constitution.kind != "private"
        if is_forbidden:
            return multiple()
        return self.perhaps(self.propose(POLICY_1, self.log.operator, change), is_agreed)

    def perhaps(self, found: list[bytes], is_agreed: bool) -> Any:
        for each in found if is_agreed else ():
            self.agree_to(each)
        return multiple(*found)

    @rule(change=st.sampled_from([Grant("birch", "auditor"), Withdraw("birch", "auditor"),
                                  Withdraw("acme", "auditor")]))  # fmt: skip
    def change_member(self, change: Any) -> None:
        self.append(MEMBER_1, self.log.operator, change, is_reviewed=False)

    @rule(number=which)
    def change_what_is_not_there(self, number: int) -> None:
        nowhere = ids.format_digest(bytes([number]) * 32)
        self.append(HOLD_1, self.log.operator, Hold("hold", (nowhere,), "case"))

    @precondition(lambda self: len(self.acts) > 4)
    @rule()
    def restart(self) -> None:
        self.log.restart()

    # --- what always holds -------------------------------------------------------------------

    @invariant()
    def what_holds_now_is_what_a_review_finds(self) -> None:
        done, now = review.what_took_effect(self.acts), len(self.acts)
        for act in self.acts:
            if not act.kind.is_governance:
                expected = reviewed(self.acts, done, act, now)
                assert told(self.log.assembly, act, now) == expected, act.index

    def teardown(self) -> None:
        if not hasattr(self, "log"):
            return
        again = replayed(self.acts)
        assert again.constitution == self.log.constitution
        assert again.alterations.effects == self.log.assembly.alterations.effects
        self.check_every_index(again)
        self.check_governance(again)
        short = Constitution()
        for index in again.constitutional:
            replay(short, self.acts[index])
        assert short == again.constitution

    def check_every_index(self, whole: Assembly) -> None:
        """Check what holds of every entry at every index, by the whole log and by its prefix."""
        done = review.what_took_effect(self.acts)
        ordinary = [act for act in self.acts if not act.kind.is_governance]
        prefix = Assembly(Constitution(), {})
        for act in self.acts:
            prefix.take(act, prefix.check(act))
            prefix.alterations.learn(act)
            index = act.index + 1
            for each in ordinary:
                if each.index < index:
                    expected = reviewed(self.acts, done, each, index)
                    assert told(whole, each, index) == expected
                    assert told(prefix, each, index) == expected

    def check_governance(self, whole: Assembly) -> None:
        done = review.what_took_effect(self.acts)
        for act in self.acts:
            effect = whole.alterations.effects[act.leaf_hash]
            if act.kind.is_governance:
                assert effect.changes == 0
                assert told(whole, act, len(self.acts))[1:] == ({}, set(), {}, {})
            assert effect.ordered_at == review.ordered_at(done, act)
            assert effect.done_at == review.done_at(self.acts, act)
            first = review.original_of(self.acts, act)
            assert effect.original == (first.leaf_hash if first != act else None)


def test_what_holds_of_every_entry_at_every_index_is_what_a_review_finds() -> None:
    run_state_machine_as_test(Changing, settings=settings(max_examples=100, stateful_step_count=30))
