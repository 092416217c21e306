"""A proposal as an endorser must know it: checked to the byte before anything is signed.

What is checked, beside the entry itself (entries.py):

1. the policy's hash, computed here from the policy shown, is the one that will be signed;
2. the policy governs records of this type;
3. the end is the log's time received and the policy's time to live;
4. of a bundle, each proposal in it in the same way, and its hash and end follow from theirs.

Only then is there an :class:`~ledger_core.records.types.endorsement.Endorsement` to sign. That the
policy shown was the one in force is not known here, and need not be: the endorsement names it by
hash, and counts under no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger_core import clock, ids
from ledger_core.errors import MalformedError
from ledger_core.policy import proposals as rules
from ledger_core.records.rules import AMENDS, Policy, hash_policy
from ledger_core.records.types.bundle import BUNDLE_1, Bundle
from ledger_core.records.types.endorsement import Decision, Endorsement
from ledger_core.records.types.outcome import OUTCOME_1, Outcome, Reason, Verdict
from ledger_core.records.types.policy import POLICY_1, SetPolicy
from ledgergrid.entries import VerifiedEntry
from ledgergrid.errors import ForgedEntryError
from ledgergrid.receipts import Receipt
from ledgergrid.told import PolicyInfo, ProposalInfo, ask_policies, ask_proposal
from ledgergrid.trust import Trust
from ledgergrid.wire import Flow


@dataclass(frozen=True)
class Proposal:
    """A proposal whose bytes, policies and end were verified; ``told`` is the ledger's word."""

    origin: str
    entry: VerifiedEntry
    policies: Mapping[str, Policy]
    """By the hash computed here; of a bundle, those of all its parts."""
    policy_hash: str
    ends_at_ms: int
    parts: tuple[Proposal, ...]
    told: ProposalInfo = field(repr=False)
    """State and voices as the ledger tells them, for people."""

    @property
    def leaf_hash(self) -> str:
        return self.entry.leaf_hash

    @property
    def type(self) -> str:
        return self.entry.record.type

    @property
    def ends_at(self) -> str:
        return clock.format_time(self.ends_at_ms)

    def endorsement(self, decision: Decision, role: str | None = None) -> Endorsement:
        """Return what an endorsement of this proposal says, and nothing else."""
        return Endorsement(
            proposal=self.leaf_hash,
            policy=self.policy_hash,
            decision=decision,
            ends_at=self.ends_at,
            role=role,
        )


ProposalLike = Proposal | Receipt | str
"""A verified proposal, the receipt of one, or its leaf hash as ``sha256:…``."""


@dataclass(frozen=True)
class ProposalOutcome:
    """How a proposal ended: the outcome's own entry, verified like any other."""

    proposal: str
    """Leaf hash of the proposal, or of the bundle it is in."""
    verdict: Verdict
    reason: Reason
    entry: VerifiedEntry

    @property
    def is_confirmed(self) -> bool:
        return self.verdict == "confirmed"


def leaf_hash_of(target: ProposalLike) -> str:
    """Return the leaf hash that is meant; raise :class:`MalformedError` for what is none."""
    found = target if isinstance(target, str) else target.leaf_hash
    ids.check_digest(found)
    return found


def read_proposal(trust: Trust, leaf_hash: str) -> Flow[Proposal]:
    """Fetch a proposal, and all it takes to endorse it, and check it, numbered as above."""
    policies = yield from ask_policies()
    return (yield from _read(trust, leaf_hash, policies, is_part=False))


def _read(
    trust: Trust, leaf_hash: str, policies: tuple[PolicyInfo, ...], *, is_part: bool
) -> Flow[Proposal]:
    told = yield from ask_proposal(leaf_hash)
    entry = yield from trust.read_entry(told.index, leaf_hash)
    if entry.record.type != BUNDLE_1.name:
        return _open_single(trust.origin, entry, told, policies)
    if is_part:
        raise ForgedEntryError(f"entry {entry.index}: a bundle in a bundle")
    parts: list[Proposal] = []
    body: Bundle = entry.payload["body"]
    for each in body.proposals:
        parts.append((yield from _read(trust, each, policies, is_part=True)))
    return _open_bundle(trust.origin, entry, told, tuple(parts))


def _open_single(
    origin: str, entry: VerifiedEntry, told: ProposalInfo, policies: tuple[PolicyInfo, ...]
) -> Proposal:
    named = {ids.format_digest(hash_policy(each.policy)): each.policy for each in policies}
    policy = named.get(told.policy)  # 1
    if policy is None:
        raise ForgedEntryError(f"entry {entry.index}: no policy shown has the hash {told.policy}")
    if not any(_is_governed(entry, topic) for topic in policy.governs):  # 2
        names = " or ".join(sorted(_types_under(entry)))
        raise ForgedEntryError(f"entry {entry.index}: the policy shown does not govern {names}")
    ends_at_ms = entry.received_at_ms + policy.ttl_s * 1000
    _check_end(entry, told, ends_at_ms)  # 3
    return Proposal(origin, entry, {told.policy: policy}, told.policy, ends_at_ms, (), told)


def _is_governed(entry: VerifiedEntry, topic: str) -> bool:
    """Say whether a policy on this topic may be the one over this record.

    Of which type a change's targets are is not looked up: the endorsement names the policy by its
    hash, and counts under no other.
    """
    change, colon, _ = topic.partition(":")
    own = entry.record.type
    amends = any(ref.rel == "amends" for ref in entry.record.refs)
    if amends and topic in (AMENDS, f"{AMENDS}:{own}"):
        return True
    return topic in _types_under(entry) or (bool(colon) and change == own)


def _types_under(entry: VerifiedEntry) -> set[str]:
    """Return the types one of which the policy over this record must govern."""
    if entry.record.type != POLICY_1.name:
        return {entry.record.type}
    change: Any = entry.payload["body"]
    changed = change.policy.governs if isinstance(change, SetPolicy) else change.governs
    return {POLICY_1.name, *changed}


def _open_bundle(
    origin: str, entry: VerifiedEntry, told: ProposalInfo, parts: tuple[Proposal, ...]
) -> Proposal:
    policies = {name: policy for part in parts for name, policy in part.policies.items()}
    combined = rules.Proposal(
        index=entry.index,
        leaf_hash=ids.parse_digest(entry.leaf_hash),
        author=entry.record.author,
        member=None,
        type=entry.record.type,
        policies=tuple(sorted(map(ids.parse_digest, policies))),
        ends_at=min(part.ends_at_ms for part in parts),
    )
    policy_hash = ids.format_digest(combined.policy_hash)
    if told.policy != policy_hash:  # 4
        raise ForgedEntryError(f"entry {entry.index}: not the hash of its parts' policies")
    _check_end(entry, told, combined.ends_at)
    return Proposal(origin, entry, policies, policy_hash, combined.ends_at, parts, told)


def _check_end(entry: VerifiedEntry, told: ProposalInfo, ends_at_ms: int) -> None:
    if told.ends_at != clock.format_time(ends_at_ms):
        raise ForgedEntryError(f"entry {entry.index}: it does not end at {told.ends_at[:40]}")


def read_outcome(trust: Trust, leaf_hash: str, told: ProposalInfo) -> Flow[ProposalOutcome]:
    """Fetch the entry that is said to have ended a proposal, and check that it did."""
    if told.outcome is None:
        raise ForgedEntryError(f"{leaf_hash} is said to be {told.state} without an outcome")
    entry = yield from trust.read_entry(told.outcome)
    if entry.record.type != OUTCOME_1.name:
        raise ForgedEntryError(f"entry {entry.index} is no outcome")
    outcome: Outcome = entry.payload["body"]
    if outcome.proposal != leaf_hash:
        yield from _check_in_bundle(trust, leaf_hash, outcome.proposal)
    if outcome.verdict != told.state:
        raise ForgedEntryError(f"entry {entry.index} says {outcome.verdict}, not {told.state}")
    return ProposalOutcome(outcome.proposal, outcome.verdict, outcome.reason, entry)


def _check_in_bundle(trust: Trust, leaf_hash: str, bundle: str) -> Flow[None]:
    told = yield from ask_proposal(bundle)
    entry = yield from trust.read_entry(told.index, bundle)
    body = entry.payload.get("body")
    if not isinstance(body, Bundle) or leaf_hash not in body.proposals:
        raise ForgedEntryError(f"the outcome is of {bundle}, which does not join {leaf_hash}")


def check_signable(proposal: Proposal, origin: str) -> None:
    """Raise :class:`MalformedError` for a proposal that this endorser is not asked about."""
    if proposal.origin != origin:
        raise MalformedError(f"this proposal was read from {proposal.origin}, not from {origin}")
    if proposal.told.bundle is not None:
        raise MalformedError(f"this proposal is in a bundle: endorse {proposal.told.bundle}")
