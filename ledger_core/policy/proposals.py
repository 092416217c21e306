"""Proposals: records that wait until those concerned agree, and how that is decided.

A voice counts only if its key and member stood both when the proposal was made and when it
spoke, if it came before the proposal's end by the log's own time, and if its voter had not
spoken yet. Each voter's first word counts; a second one is kept in the log and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

from ledger_core.policy.changes import Change
from ledger_core.policy.constitution import Constitution, KeyStanding
from ledger_core.policy.quorum import Voter, concerns, holds
from ledger_core.records.rules import Policy
from ledger_core.records.types.endorsement import Decision
from ledger_core.records.types.outcome import Reason, Verdict

_BUNDLE_TAG = b"ledgergrid/bundle-policies@v1\n"


@dataclass(frozen=True)
class Voice:
    """One word that was heard in time from one who stood; ``roles`` are those it spoke with."""

    index: int
    leaf_hash: bytes
    key: str
    member: str | None
    roles: frozenset[str]
    decision: Decision


@dataclass(frozen=True)
class Proposal:
    """An entry that waits, or waited. ``ends_at`` in ms of the log's time.

    ``parts``: of a bundle, the leaf hashes of the proposals in it. ``bundle``: of a proposal in
    one, the bundle's. ``outcome``: index of the entry that ended it.
    """

    index: int
    leaf_hash: bytes
    author: str
    member: str | None
    """The author's member."""
    type: str
    policies: tuple[bytes, ...]
    ends_at: int
    parts: tuple[bytes, ...] = ()
    bundle: bytes | None = None
    voices: tuple[Voice, ...] = ()
    is_withdrawn: bool = False
    outcome: int | None = None
    verdict: Verdict | None = None
    change: Change | None = None
    """Of earlier entries, that it asks for."""

    @property
    def is_open(self) -> bool:
        return self.outcome is None

    def heard_at(self, *, before: int) -> list[int]:
        """Return the indexes of its voices below ``before``."""
        return [voice.index for voice in self.voices if voice.index < before]

    @property
    def policy_hash(self) -> bytes:
        """What an endorsement names as its policy: one hash, or a bundle's hash over several."""
        return hash_policies(self.policies)


def hash_policies(hashes: Iterable[bytes]) -> bytes:
    """Return the hash of one policy, or SHA-256(tag || hashes in order) of several."""
    each = sorted(set(hashes))
    return each[0] if len(each) == 1 else sha256(_BUNDLE_TAG + b"".join(each)).digest()


@dataclass(frozen=True)
class Ruling:
    """How a proposal ends, and why."""

    verdict: Verdict
    reason: Reason


def voice_of(
    constitution: Constitution,
    proposal: Proposal,
    key: str,
    decision: Decision,
    index: int,
    leaf_hash: bytes,
) -> Voice | None:
    """Return the voice of a key, None unless it stood at the proposal and stands at ``index``."""
    if not (constitution.stands_at(key, proposal.index) and constitution.stands_at(key, index)):
        return None
    member = constitution.keys[key].member
    roles: frozenset[str] = frozenset()
    if member is not None:
        found = constitution.members[member]
        roles = found.roles_at(proposal.index) & found.roles_at(index)
    return Voice(index, leaf_hash, key, member, roles, decision)


def find_contradiction(proposal: Proposal, voice: Voice) -> Voice | None:
    """Return an earlier voice of the same key or member that said the opposite."""
    for earlier in proposal.voices:
        is_same = earlier.key == voice.key or (
            voice.member is not None and earlier.member == voice.member
        )
        if is_same and earlier.decision != voice.decision:
            return earlier
    return None


def hear(proposal: Proposal, voice: Voice) -> Proposal:
    """Add a voice, unless its key has spoken already."""
    if any(earlier.key == voice.key for earlier in proposal.voices):
        return proposal
    return replace(proposal, voices=(*proposal.voices, voice))


# --- deciding --------------------------------------------------------------------


def decide(constitution: Constitution, proposal: Proposal, now_ms: int) -> Ruling | None:
    """Return how the proposal ends as things stand, None if it goes on waiting.

    Time comes first: what is not decided before its end has expired.
    """
    if proposal.is_withdrawn:
        return Ruling("withdrawn", "withdrawal")
    if now_ms >= proposal.ends_at:
        return Ruling("expired", "time")
    policies = [constitution.policies[each] for each in proposal.policies]
    if any(_is_vetoed(policy, proposal) for policy in policies):
        return Ruling("rejected", "veto")
    if all(agree(policy, proposal) for policy in policies):
        return Ruling("confirmed", "quorum")
    if any(voice.decision == "reject" for voice in proposal.voices) and any(
        not holds(policy.rule, _possible(constitution, policy, proposal)) for policy in policies
    ):
        return Ruling("rejected", "out-of-reach")
    return None


def agree(policy: Policy, proposal: Proposal) -> bool:
    """Say whether those who approve are enough under one policy."""
    return holds(policy.rule, _voters(policy, proposal, "approve"))


def _is_vetoed(policy: Policy, proposal: Proposal) -> bool:
    return policy.veto is not None and holds(policy.veto, _voters(policy, proposal, "reject"))


def _voter_name(policy: Policy, proposal: Proposal, key: str, member: str | None) -> str | None:
    """Return as whom a key is counted; None if it has no voice under this policy."""
    by_member = policy.count_by == "member"
    if not policy.author_counts and (
        key == proposal.author or (by_member and member is not None and member == proposal.member)
    ):
        return None
    return member if by_member else key


def _first_words(policy: Policy, proposal: Proposal) -> dict[str, Voice]:
    first: dict[str, Voice] = {}
    for voice in proposal.voices:
        name = _voter_name(policy, proposal, voice.key, voice.member)
        if name is not None:
            first.setdefault(name, voice)
    return first


def _voters(policy: Policy, proposal: Proposal, decision: Decision) -> Iterator[Voter]:
    """Yield those whose first word was ``decision``, with all keys that said so."""
    for name, first in _first_words(policy, proposal).items():
        if first.decision == decision:
            keys = frozenset(
                voice.key
                for voice in proposal.voices
                if voice.decision == decision
                and _voter_name(policy, proposal, voice.key, voice.member) == name
            )
            yield Voter(name, first.member, keys, first.roles)


def agreeing(constitution: Constitution, proposal: Proposal) -> frozenset[str]:
    """Return the voters who agree, under any of the proposal's policies."""
    policies = [constitution.policies[each] for each in proposal.policies]
    return frozenset(
        voter.name for policy in policies for voter in _voters(policy, proposal, "approve")
    )


def _possible(constitution: Constitution, policy: Policy, proposal: Proposal) -> Iterator[Voter]:
    """Yield all who agree or, as far as anyone can tell, still may."""
    rejecting = {voter.name for voter in _voters(policy, proposal, "reject")}
    possible = {voter.name: voter for voter in _voters(policy, proposal, "approve")}
    spoken = {voice.key for voice in proposal.voices}
    for key in constitution.keys.values():
        name = _voter_name(policy, proposal, key.key, key.member)
        if name is None or name in rejecting or key.key in spoken:
            continue
        if _may_speak(constitution, key, proposal):
            voter = possible.get(name) or _silent(constitution, key, name, proposal)
            possible[name] = replace(voter, keys=voter.keys | {key.key})
    yield from possible.values()


def _silent(constitution: Constitution, key: KeyStanding, name: str, proposal: Proposal) -> Voter:
    """Return a voter who has not spoken, with all roles it may still speak with."""
    if key.member is None:
        return Voter(name, None, frozenset(), frozenset())
    roles = constitution.members[key.member].roles_at(proposal.index)
    return Voter(name, key.member, frozenset(), roles)


def _may_speak(constitution: Constitution, key: KeyStanding, proposal: Proposal) -> bool:
    if key.revoked is not None or not constitution.stands_at(key.key, proposal.index):
        return False
    return key.member is None or constitution.members[key.member].now.status != "removed"


# --- who is waited for -----------------------------------------------------------


def awaits(constitution: Constitution, proposal: Proposal, member: str) -> bool:
    """Say whether an open proposal still waits for a word of ``member`` that would count."""
    if not proposal.is_open or proposal.bundle is not None or member not in constitution.members:
        return False
    keys = frozenset(
        key.key
        for key in constitution.keys.values()
        if key.member == member and _may_speak(constitution, key, proposal)
    )
    roles = constitution.members[member].roles_at(proposal.index)
    for policy_hash in proposal.policies:
        policy = constitution.policies[policy_hash]
        first = _first_words(policy, proposal)
        for key in keys:
            name = _voter_name(policy, proposal, key, member)
            own = keys if policy.count_by == "member" else frozenset({key})
            if name is not None and name not in first:
                voter = Voter(name, member, own, roles)
                if any(concerns(rule, voter) for rule in (policy.rule, policy.veto) if rule):
                    return True
    return False
