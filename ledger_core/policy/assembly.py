"""The assembly: takes entries in order and says what follows from each.

The sequencer asks it inside the append transaction and appends what is due; the verifier asks
it again and expects to find just that. So a verdict is never a matter of anyone's word. ::

    check   may this record be the next entry?         raises StandingError
    take    it is the next entry: what must follow it?  records of the service, or nothing
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, MutableMapping
from dataclasses import replace

from ledger_core import clock, ids, limits
from ledger_core.errors import StandingError
from ledger_core.policy import amending, changes, proposals
from ledger_core.policy.act import Act
from ledger_core.policy.alterations import Alterations
from ledger_core.policy.changes import Change
from ledger_core.policy.constitution import Constitution, Waiting
from ledger_core.policy.effects import Effect
from ledger_core.policy.proposals import Proposal, Ruling
from ledger_core.policy.streams import evidence_of
from ledger_core.records.model import Payload, RecordType
from ledger_core.records.rules import Policy, hash_policy
from ledger_core.records.types.bundle import BUNDLE_1, Bundle
from ledger_core.records.types.endorsement import ENDORSEMENT_1, Endorsement
from ledger_core.records.types.equivocation import EQUIVOCATION_1, Equivocation
from ledger_core.records.types.erasure_done import ErasureDone
from ledger_core.records.types.outcome import OUTCOME_1, Outcome
from ledger_core.records.types.policy import POLICY_1
from ledger_core.records.types.retention import RETENTION_1, Retention
from ledger_core.records.types.withdrawal import WITHDRAWAL_1, Withdrawal

_SPEAKING = frozenset(
    kind.name for kind in (ENDORSEMENT_1, WITHDRAWAL_1, BUNDLE_1, OUTCOME_1, EQUIVOCATION_1)
)


Due = Outcome | Equivocation
"""A record of the service that must be the next entry."""


def due_type(due: Due) -> RecordType:
    return OUTCOME_1 if isinstance(due, Outcome) else EQUIVOCATION_1


def is_speech(kind: RecordType) -> bool:
    """Say whether records of this type speak of proposals."""
    return kind.name in _SPEAKING


def named_proposals(kind: RecordType, payload: Payload) -> tuple[bytes, ...]:
    """Return the leaf hashes of the proposals that a record speaks of."""
    if kind.name not in _SPEAKING or kind is EQUIVOCATION_1:
        return ()
    body: Endorsement | Withdrawal | Bundle | Outcome = payload["body"]
    named = body.proposals if isinstance(body, Bundle) else (body.proposal,)
    return tuple(ids.parse_digest(each) for each in named)


class Assembly:
    """One ledger's governance at one point of its log.

    ``known`` holds at least those proposals that the records to come name, open or not, and
    ``effects`` what holds of the entries that they, or changes proposed by them, name. The
    constitution given is never changed: look at ``constitution`` for the one reached.
    """

    def __init__(
        self,
        constitution: Constitution,
        known: MutableMapping[bytes, Proposal],
        effects: MutableMapping[bytes, Effect] | None = None,
    ) -> None:
        self.constitution = constitution
        self.proposals = known
        self.alterations = Alterations(known, {} if effects is None else effects)
        """What holds of the entries that were changed, or are named by a change."""
        self.changed: dict[bytes, Proposal] = {}
        """Proposals made or moved since this assembly began."""
        self.due: deque[Due] = deque()
        """What the next entries must be, before anything else."""
        self.constitutional: list[int] = []
        """Indexes of entries taken that :func:`replay` needs."""
        self._is_own = False

    # --- may it be? --------------------------------------------------------------

    def check(self, act: Act) -> Policy | None:
        """Raise :class:`StandingError` unless ``act`` may be the next entry.

        Returns the policy it would wait under, None if it takes effect at once.
        """
        self.constitution.check_author(act.author, act.kind, act.index)
        if self.due and act.payload.get("body") != self.due[0]:
            raise StandingError(f"due here is {due_type(self.due[0]).name}: {self.due[0]}")
        if act.kind.name in _SPEAKING:
            self._check_speech(act)
            return None
        change = changes.read_change(act.kind, act.payload, act.amends)
        if change is not None:
            return self.alterations.check(self.constitution, act, change)
        if act.index == 0:
            policy = None
        else:
            policy = amending.policy_over(self.constitution, act.kind, act.payload)
        if act.kind.is_constitutional:
            amending.check_authority(self.constitution, act.kind, act.payload, act.author, policy)
            attempt = self.constitution.copy()
            amending.apply(attempt, act.kind, act.payload, act.author, act.index)
        match act.payload.get("body"):
            case Retention() as order:
                changes.check_retention(self.constitution, order, act.received_at, act.index)
            case ErasureDone() as done:
                self.alterations.check_done(done)
        return policy

    def _check_speech(self, act: Act) -> None:
        match act.payload["body"]:
            case Endorsement() as body:
                self._check_endorsement(body)
            case Withdrawal() as body:
                self._check_withdrawal(act, self._proposal(body.proposal))
            case Bundle() as body:
                self._check_bundle(act, body)
            case Outcome() as body:
                self._check_outcome(act, body)
            case _:
                if not self.due:
                    raise StandingError("no such evidence is due here")

    def _proposal(self, digest: str) -> Proposal:
        found = self.proposals.get(ids.parse_digest(digest))
        if found is None:
            raise StandingError(f"{digest} is no proposal of this ledger")
        return found

    def _check_endorsement(self, body: Endorsement) -> None:
        proposal = self._proposal(body.proposal)
        if proposal.bundle is not None:
            raise StandingError(
                f"this proposal is in a bundle: endorse {ids.format_digest(proposal.bundle)}"
            )
        if body.policy != ids.format_digest(proposal.policy_hash):
            raise StandingError("the endorsement names another policy than the proposal's")
        if body.ends_at != clock.format_time(proposal.ends_at):
            raise StandingError(f"the proposal ends at {clock.format_time(proposal.ends_at)}")

    def _check_withdrawal(self, act: Act, proposal: Proposal) -> None:
        if not proposal.is_open or proposal.bundle is not None:
            raise StandingError("only an open proposal is withdrawn, a bundle as a whole")
        if act.received_at >= proposal.ends_at:
            raise StandingError("the proposal has ended")
        member = self.constitution.keys[act.author].member
        is_members = member is not None and member == proposal.member
        for policy_hash in proposal.policies:
            allowed = self.constitution.policies[policy_hash].withdrawn_by
            may = act.author == proposal.author or (allowed == "member" and is_members)
            if allowed == "nobody" or not may:
                raise StandingError(f"this proposal is withdrawn by: {allowed}")

    def _check_bundle(self, act: Act, body: Bundle) -> None:
        named = 0
        for each in map(self._proposal, body.proposals):
            named += len(changes.named_by(each.change)) if each.change is not None else 0
            if not each.is_open or each.bundle is not None or each.parts:
                raise StandingError("a bundle joins open proposals that are in no bundle yet")
            if each.author != act.author:
                raise StandingError("a bundle joins proposals of its own author")
            if act.received_at >= each.ends_at:
                raise StandingError("a proposal of this bundle has ended")
        if named > limits.CHANGE_TARGETS:  # Each endorsement of it looks at all of them.
            raise StandingError(f"a bundle changes at most {limits.CHANGE_TARGETS} entries")

    def _check_outcome(self, act: Act, body: Outcome) -> None:
        if self.due:
            return  # Decided by the entry before it, at that entry's time.
        proposal = self._proposal(body.proposal)
        if not proposal.is_open or proposal.bundle is not None:
            raise StandingError("this proposal has its outcome, or shares its bundle's")
        ruling = self._rule(proposal, act.received_at, act.index)
        if ruling is None or body != outcome_of(proposal, ruling):
            raise StandingError("this is not how the proposal ends")

    # --- what follows? -----------------------------------------------------------

    def take(self, act: Act, policy: Policy | None) -> None:
        """Let ``act``, which was checked, be the next entry; what must follow is in ``due``."""
        if self.due:
            self.due.popleft()
        if act.repeats is not None:
            self.due.appendleft(evidence_of(act.repeats, act.leaf_hash))
        if act.kind.is_constitutional:
            self.constitutional.append(act.index)
        change = changes.read_change(act.kind, act.payload, act.amends)
        if change is not None:
            self.alterations.note(act, change)
        match act.payload.get("body"):
            case Endorsement() as body:
                self._hear(act, self._proposal(body.proposal), body)
            case Withdrawal() as body:
                withdrawn = replace(self._proposal(body.proposal), is_withdrawn=True)
                self._conclude(withdrawn, act.received_at, act.index)
            case Bundle() as body:
                self._bundle(act, body)
            case Outcome() as body:
                self._end(act, self._proposal(body.proposal), body)
            case _ if policy is not None:
                self._propose(act, policy, change)
            case _ if change is not None:
                self.alterations.alter(change, act.leaf_hash, act.index)
            case ErasureDone() as done:
                self.alterations.note_done(done, act.index)
            case _ if act.kind.is_constitutional:
                self._apply(act.kind, act.payload, act.author, act.index)
                if act.kind is RETENTION_1:
                    self.alterations.note_order(act)

    def _propose(self, act: Act, policy: Policy, change: Change | None) -> None:
        if act.kind.is_constitutional:
            waiting = Waiting(act.kind, act.payload, act.author, act.index)
            self._own().waiting[act.leaf_hash] = waiting
        proposal = Proposal(
            index=act.index,
            leaf_hash=act.leaf_hash,
            author=act.author,
            member=self.constitution.keys[act.author].member,
            type=act.kind.name,
            policies=(hash_policy(policy),),
            ends_at=act.received_at + policy.ttl_s * 1000,
            change=change,
        )
        self._open(act, proposal)

    def _bundle(self, act: Act, body: Bundle) -> None:
        parts = [self._proposal(each) for each in body.proposals]
        proposal = Proposal(
            index=act.index,
            leaf_hash=act.leaf_hash,
            author=act.author,
            member=self.constitution.keys[act.author].member,
            type=act.kind.name,
            policies=tuple(sorted({each for part in parts for each in part.policies})),
            ends_at=min(part.ends_at for part in parts),
            parts=tuple(part.leaf_hash for part in parts),
        )
        for part in parts:
            self._keep(replace(part, bundle=act.leaf_hash))
        if any(self._changes_in(proposal)):
            self._own().bundles[act.leaf_hash] = proposal.parts
            self.constitutional.append(act.index)
        self._open(act, proposal)

    def _open(self, act: Act, proposal: Proposal) -> None:
        """Let a new proposal wait; its author's own agreement counts where a policy says so."""
        voice = proposals.voice_of(
            self.constitution, proposal, act.author, "approve", act.index, act.leaf_hash
        )
        if voice is not None:
            proposal = proposals.hear(proposal, voice)
        self._conclude(proposal, act.received_at, act.index)

    def _hear(self, act: Act, proposal: Proposal, body: Endorsement) -> None:
        voice = proposals.voice_of(
            self.constitution, proposal, act.author, body.decision, act.index, act.leaf_hash
        )
        contradicted = voice and proposals.find_contradiction(proposal, voice)
        if contradicted:
            first, second = map(ids.format_digest, (contradicted.leaf_hash, act.leaf_hash))
            self.due.append(Equivocation("endorsement", first, second))
        if not proposal.is_open:
            return  # Late: kept in the log, not counted.
        if voice is not None and act.received_at < proposal.ends_at:
            proposal = proposals.hear(proposal, voice)
        self._conclude(proposal, act.received_at, act.index)

    def _conclude(self, proposal: Proposal, now_ms: int, index: int) -> None:
        self._keep(proposal)
        ruling = self._rule(proposal, now_ms, index)
        if ruling is not None:
            self.due.append(outcome_of(proposal, ruling))

    def _rule(self, proposal: Proposal, now_ms: int, index: int) -> Ruling | None:
        """Decide; a change that can no longer be made is rejected, whoever agreed to it."""
        ruling = proposals.decide(self.constitution, proposal, now_ms)
        if ruling is not None and ruling.verdict == "confirmed":
            try:
                self._try(proposal, index)
            except StandingError:
                return Ruling("rejected", "inapplicable")
        return ruling

    def _try(self, proposal: Proposal, index: int) -> None:
        """Raise :class:`StandingError` if what a proposal asks for can no longer be."""
        waiting = list(self._changes_in(proposal))
        attempt = self.constitution.copy() if waiting else self.constitution
        for each in waiting:
            self._check_policy_change(each, proposal)
            amending.apply(attempt, each.kind, each.payload, each.author, index)
        self.alterations.check_still(attempt, self._alterations_in(proposal), index)

    def _alterations_in(self, proposal: Proposal) -> Iterator[tuple[bytes, Change]]:
        for leaf_hash in proposal.parts or (proposal.leaf_hash,):
            part = proposal if leaf_hash == proposal.leaf_hash else self.proposals[leaf_hash]
            if part.change is not None:
                yield leaf_hash, part.change

    def _check_policy_change(self, change: Waiting, proposal: Proposal) -> None:
        """Raise if another policy than the one it was agreed to under is in force by now."""
        if change.kind is POLICY_1:
            policy = amending.policy_over(self.constitution, change.kind, change.payload)
            if policy is None or hash_policy(policy) not in proposal.policies:
                raise StandingError("a policy is changed under the one in force")

    def _changes_in(self, proposal: Proposal) -> Iterator[Waiting]:
        waiting = self.constitution.waiting
        for leaf_hash in proposal.parts or (proposal.leaf_hash,):
            if leaf_hash in waiting:
                yield waiting[leaf_hash]

    def _end(self, act: Act, proposal: Proposal, body: Outcome) -> None:
        if any(self._changes_in(proposal)):
            self.constitutional.append(act.index)
            _conclude(self._own(), proposal.leaf_hash, body, act.index)
        if body.verdict == "confirmed":
            for by, change in self._alterations_in(proposal):
                self.alterations.alter(change, by, act.index)
        for leaf_hash in (proposal.leaf_hash, *proposal.parts):
            ended = self.proposals[leaf_hash]
            self._keep(replace(ended, outcome=act.index, verdict=body.verdict))

    def _apply(self, kind: RecordType, payload: Payload, author: str, at: int) -> None:
        amending.apply(self._own(), kind, payload, author, at)

    def _own(self) -> Constitution:
        """Return a constitution that is this assembly's to change."""
        if not self._is_own:
            self.constitution, self._is_own = self.constitution.copy(), True
        return self.constitution

    def _keep(self, proposal: Proposal) -> None:
        self.proposals[proposal.leaf_hash] = self.changed[proposal.leaf_hash] = proposal


def outcome_of(proposal: Proposal, ruling: Ruling) -> Outcome:
    return Outcome(
        proposal=ids.format_digest(proposal.leaf_hash),
        policy=ids.format_digest(proposal.policy_hash),
        verdict=ruling.verdict,
        reason=ruling.reason,
    )


# --- replaying -------------------------------------------------------------------


def replay(constitution: Constitution, act: Act) -> None:
    """Take an entry that was checked when it was appended; change ``constitution`` in place.

    Give it every entry that an assembly calls ``constitutional``, in order: the outcome is
    the constitution that the assembly reached.
    """
    body = act.payload["body"]
    if isinstance(body, Bundle):
        constitution.bundles[act.leaf_hash] = tuple(map(ids.parse_digest, body.proposals))
    elif isinstance(body, Outcome):
        _conclude(constitution, ids.parse_digest(body.proposal), body, act.index)
    elif act.index and amending.policy_over(constitution, act.kind, act.payload) is not None:
        waiting = Waiting(act.kind, act.payload, act.author, act.index)
        constitution.waiting[act.leaf_hash] = waiting
    else:
        amending.apply(constitution, act.kind, act.payload, act.author, act.index)


def _conclude(constitution: Constitution, proposal: bytes, body: Outcome, at: int) -> None:
    """Let the changes of a proposal or bundle take effect, or be forgotten."""
    for leaf_hash in constitution.bundles.pop(proposal, (proposal,)):
        change = constitution.waiting.pop(leaf_hash, None)
        if change is not None and body.verdict == "confirmed":
            amending.apply(constitution, change.kind, change.payload, change.author, at)
