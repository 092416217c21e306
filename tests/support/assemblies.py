"""A log in memory as governance sees it: no signatures, no storage, time by hand."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from ledger_core import clock, ids
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import Assembly, due_type, outcome_of
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect
from ledger_core.policy.proposals import Proposal, Ruling
from ledger_core.records.model import RecordType, Role
from ledger_core.records.rules import MemberRule, OutOfRule, Policy, Rule
from ledger_core.records.types.charter import CHARTER_1, Charter, FoundingKey, FoundingMember, Kind
from ledger_core.records.types.endorsement import ENDORSEMENT_1, Decision, Endorsement
from ledger_core.records.types.note import NOTE_1
from ledger_core.records.types.outcome import OUTCOME_1

OPERATOR = "ed25519:operator"
MEMBERS = ("acme", "birch", "cobalt")


def agent(member: str, number: int = 1) -> str:
    return f"ed25519:{member}-agent-{number}"


def steward(member: str) -> str:
    return f"ed25519:{member}-steward"


def two_of_three(members: tuple[str, ...] = MEMBERS) -> Rule:
    return OutOfRule(2, tuple(map(MemberRule, members)))


def make_policy(*governs: str, rule: Rule | None = None, **rest: Any) -> Policy:
    settings: dict[str, Any] = {"count_by": "member", "author_counts": True, "ttl_s": 60}
    name = governs[0].replace("/", ".").replace(":", "-")
    return Policy(name=name, governs=governs, rule=rule or two_of_three(), **(settings | rest))


def founding(
    *policies: Policy, kind: Kind = "private", members: tuple[str, ...] = MEMBERS, **rest: Any
) -> Charter:
    """Return a charter with an operator, and for each member a steward and two agents."""
    keys = [FoundingKey(OPERATOR, ("operator",))]
    for name in members:
        keys.append(FoundingKey(steward(name), ("steward",), name))
        agents: tuple[Role, ...] = ("agent",)
        keys += [FoundingKey(agent(name, n), agents, name) for n in (1, 2)]
    return Charter(
        origin="origin",
        kind=kind,
        log_key="log-key",
        keys=tuple(keys),
        members=tuple(map(FoundingMember, members)),
        policies=policies,
        **rest,
    )


class Log:
    """Entries one after another; what is due is appended by itself, as the service does."""

    def __init__(self, charter: Charter) -> None:
        self.now_ms = 1_000_000
        self.acts: list[Act] = []
        self.kept: dict[bytes, Effect] = {}
        self.parts: tuple[str, ...] = ("body",)
        """What records commit to."""
        self.assembly = Assembly(Constitution(), {})
        self.append(CHARTER_1, OPERATOR, charter)

    @property
    def constitution(self) -> Constitution:
        return self.assembly.constitution

    @property
    def operator(self) -> str:
        return OPERATOR

    def agent_of(self, member: str, number: int = 1) -> str:
        return agent(member, number)

    def steward_of(self, member: str) -> str:
        return steward(member)

    def restart(self) -> None:
        """Go on with an assembly that knows what a service stores, and nothing else."""
        before = self.assembly
        self.kept |= before.alterations.altered
        effects = msgspec.json.decode(
            msgspec.json.encode(list(self.kept.values())), type=list[Effect]
        )
        known = {each.leaf_hash: each for each in effects}
        self.assembly = Assembly(before.constitution, dict(before.proposals), known)
        for act in self.acts:
            self.assembly.alterations.learn(act)

    def append(
        self, kind: RecordType, author: str, body: Any, amends: bytes | None = None
    ) -> bytes:
        """Append a record and what follows from it; return its leaf hash."""
        leaf_hash = self.append_alone(kind, author, body, amends)
        while self.assembly.due:
            due = self.assembly.due[0]
            self.append_alone(due_type(due), OPERATOR, due)
        return leaf_hash

    def append_alone(
        self, kind: RecordType, author: str, body: Any, amends: bytes | None = None
    ) -> bytes:
        """Append a record and nothing behind it."""
        index = len(self.acts)
        leaf_hash = sha256(b"leaf %d" % index).digest()
        named = None if amends is None else ids.format_digest(amends)
        payload = {"body": body}
        act = Act(index, leaf_hash, self.now_ms, kind, author, payload, named, parts=self.parts)
        policy = self.assembly.check(act)
        self.assembly.take(act, policy)
        self.assembly.alterations.learn(act)
        self.acts.append(act)
        return leaf_hash

    def effect(self, leaf_hash: bytes) -> Effect:
        return self.assembly.alterations.effects[leaf_hash]

    def expire(self, proposal: bytes) -> None:
        """Do what the service does when the time of a proposal is up."""
        found = self.proposal(proposal)
        self.append(OUTCOME_1, OPERATOR, outcome_of(found, Ruling("expired", "time")))

    def propose(
        self, author: str = agent("acme"), kind: RecordType = NOTE_1, body: Any = None
    ) -> bytes:
        return self.append(kind, author, body or {})

    def endorse(
        self, proposal: bytes, author: str, decision: Decision = "approve", **changed: Any
    ) -> bytes:
        return self.append_endorsement(self.endorsement(proposal, decision, **changed), author)

    def append_endorsement(self, body: Endorsement, author: str) -> bytes:
        return self.append(ENDORSEMENT_1, author, body)

    def endorsement(
        self, proposal: bytes, decision: Decision = "approve", **changed: Any
    ) -> Endorsement:
        found = self.proposal(proposal)
        fields: dict[str, Any] = {
            "proposal": ids.format_digest(proposal),
            "policy": ids.format_digest(found.policy_hash),
            "decision": decision,
            "ends_at": clock.format_time(found.ends_at),
        }
        return Endorsement(**(fields | changed))

    def proposal(self, leaf_hash: bytes) -> Proposal:
        return self.assembly.proposals[leaf_hash]

    def verdict(self, leaf_hash: bytes) -> str | None:
        return self.proposal(leaf_hash).verdict

    def types(self) -> list[str]:
        return [act.kind.name for act in self.acts]
