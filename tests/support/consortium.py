"""Three organisations and what they can do in one real ledger."""

from __future__ import annotations

from typing import Any

import msgspec

from ledger_core import clock, ids
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.submission import Submission
from ledger_core.ledger import Ledger
from ledger_core.ledgers import Ledgers
from ledger_core.policy.proposals import Proposal
from ledger_core.records.rules import Policy
from ledger_core.records.types.charter import Founding, FoundingKey, FoundingMember, Kind
from ledger_core.records.types.endorsement import Decision, Endorsement
from ledger_core.sequencer import Appended
from tests.support.assemblies import MEMBERS, make_policy
from tests.support.ledgers import Author, appended


class Consortium:
    """A ledger with a steward and an agent for each member; everyone signs alone."""

    def __init__(
        self,
        ledgers: Ledgers,
        *policies: Policy,
        name: str = "shared",
        kind: Kind = "consortium",
        members: tuple[str, ...] = MEMBERS,
        **founding: Any,
    ) -> None:
        origin = f"ledgergrid.example/{name}"
        self.stewards = {name: Author(origin) for name in members}
        self.agents = {name: Author(origin) for name in members}
        keys = [FoundingKey(self.stewards[m].name, ("steward",), m) for m in members]
        keys += [FoundingKey(self.agents[m].name, ("agent",), m) for m in members]
        policies = policies or (
            make_policy("member/1", "policy/1"),
            make_policy("agent.decision/1"),
        )
        self.founding = Founding(
            members=tuple(map(FoundingMember, members)),
            keys=tuple(keys),
            policies=policies,
            **founding,
        )
        self.ledger: Ledger = ledgers.create(name, kind=kind, origin=origin, founding=self.founding)

    def append(self, author: Author, type_name: str, body: Any) -> Appended:
        sealed = author.seal(type_name, {"body": msgspec.json.encode(body)})
        return appended(self.ledger.append([sealed])[0])

    def decide(self, member: str = MEMBERS[0], **body: Any) -> Appended:
        """Propose an ``agent.decision/1``."""
        decision = {"decision": "route", "chosen": "north"} | body
        return self.append(self.agents[member], "agent.decision/1", decision)

    def endorsement(
        self, proposal: bytes, member: str, decision: Decision = "approve"
    ) -> Submission:
        return endorse(self.ledger.proposal(proposal), self.agents[member], decision)

    def endorse(self, proposal: bytes, member: str, decision: Decision = "approve") -> Appended:
        sealed = self.endorsement(proposal, member, decision)
        return appended(self.ledger.append([sealed])[0])

    def verdict(self, proposal: bytes) -> str | None:
        return self.ledger.proposal(proposal).verdict

    def types(self) -> list[str]:
        entries = self.ledger.entries(range(self.ledger.size()), with_payload=False)
        return [parse_entry(each.leaf).signed_record().record.type for each in entries]


def endorse(
    proposal: Proposal,
    author: Author,
    decision: Decision = "approve",
    *,
    record_id: str | None = None,
    stream: tuple[str, int] | None = None,
) -> Submission:
    """Seal an endorsement of a proposal as it stands."""
    body = Endorsement(
        proposal=ids.format_digest(proposal.leaf_hash),
        policy=ids.format_digest(proposal.policy_hash),
        decision=decision,
        ends_at=clock.format_time(proposal.ends_at),
    )
    return author.seal(
        "endorsement/1",
        {"body": msgspec.json.encode(body)},
        refs=[("endorses", proposal.leaf_hash)],
        record_id=record_id,
        stream=stream,
    )
