"""Alterations: the effects of one ledger's entries, as changes of them are judged and applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import replace

from ledger_core import ids
from ledger_core.errors import DanglingReferenceError, StandingError
from ledger_core.policy import changes
from ledger_core.policy.act import Act
from ledger_core.policy.changes import Amendment, Change
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect
from ledger_core.policy.proposals import Proposal
from ledger_core.records.rules import Policy
from ledger_core.records.types.erasure import Erasure
from ledger_core.records.types.erasure_done import ErasureDone


class Alterations:
    """``effects`` holds what is known of the entries that the changes to come name.

    An entry that was never changed has an effect too: an empty one. ``proposals`` tells which
    of them had to be agreed to, and when they were.
    """

    def __init__(
        self, proposals: Mapping[bytes, Proposal], effects: MutableMapping[bytes, Effect]
    ) -> None:
        self._proposals = proposals
        self.effects = effects
        self.altered: dict[bytes, Effect] = {}
        """Effects made or moved since it began."""

    # --- may it be? --------------------------------------------------------------

    def check(self, constitution: Constitution, act: Act, change: Change) -> Policy | None:
        """Raise unless the change may be asked for and, as things stand, made.

        Returns the policy it would wait under, None if it takes effect at once.
        """
        targets = self._targets(change)
        if act.amends is not None and targets[0].type != act.kind.name:
            raise StandingError(f"a {targets[0].type} is amended by a {targets[0].type}")
        policy = changes.policy_over(constitution, change, targets)
        changes.check_right(constitution, change, targets, act.author, act.index, policy)
        changes.apply(change, targets, self._sinces(targets), act.leaf_hash, act.index)
        return policy

    def check_still(
        self, constitution: Constitution, agreed: Iterable[tuple[bytes, Change]], index: int
    ) -> None:
        """Raise :class:`StandingError` if what was agreed to can no longer be done, in order."""
        trial: Alterations | None = None
        for by, change in agreed:
            trial = trial or Alterations(self._proposals, dict(self.effects))
            for target in trial._targets(change):
                changes.check_mutable(constitution, change, target, index)
            trial.alter(change, by, index)

    def check_done(self, done: ErasureDone) -> None:
        """Raise :class:`StandingError` unless it is of an order that is still to be done."""
        order = self._find(done.order)
        if order.ordered_at is None or order.done_at is not None:
            raise StandingError("this is no order to erase that is in force and not done")

    # --- what becomes of it --------------------------------------------------------

    def note(self, act: Act, change: Change) -> None:
        """Remember of an amendment what it amends, and of an order that it is there."""
        if isinstance(change, Amendment):
            self._put(replace(_fresh(act), original=self._targets(change)[0].leaf_hash))
        elif isinstance(change, Erasure):
            self._put(_fresh(act))

    def alter(self, change: Change, by: bytes, at: int) -> None:
        """Let a change take effect."""
        targets = self._targets(change)
        for effect in changes.apply(change, targets, self._sinces(targets), by, at):
            self._put(effect)
        if isinstance(change, Erasure):
            self._put(replace(self.effects[by], ordered_at=at))

    def learn(self, act: Act) -> None:
        """Learn of an entry, just appended, that a change to come names."""
        self.effects.setdefault(act.leaf_hash, _fresh(act))

    def note_order(self, act: Act) -> None:
        """Take an order of the schedule, which is in force at once."""
        self._put(replace(_fresh(act), ordered_at=act.index))

    def note_done(self, done: ErasureDone, at: int) -> None:
        self._put(replace(self._find(done.order), done_at=at))

    # --- looking up ----------------------------------------------------------------

    def _find(self, digest: str) -> Effect:
        found = self.effects.get(ids.parse_digest(digest))
        if found is None:
            raise DanglingReferenceError(f"no entry with leaf hash {digest}")
        return found

    def _targets(self, change: Change) -> list[Effect]:
        """Return the effects that a change moves: of an amendment, its first version's."""
        found = [self._find(digest) for digest in changes.named_by(change)]
        if isinstance(change, Amendment) and found[0].original is not None:
            return [self.effects[found[0].original]]
        return found

    def _sinces(self, targets: Iterable[Effect]) -> dict[bytes, int | None]:
        """Say where each entry took effect: where it lies or was confirmed, None if it was not."""
        return {each.leaf_hash: self._since(each) for each in targets}

    def _since(self, effect: Effect) -> int | None:
        proposal = self._proposals.get(effect.leaf_hash)
        if proposal is None:
            return effect.index
        return proposal.outcome if proposal.verdict == "confirmed" else None

    def _put(self, effect: Effect) -> None:
        self.effects[effect.leaf_hash] = self.altered[effect.leaf_hash] = effect


def _fresh(act: Act) -> Effect:
    return Effect(act.index, act.leaf_hash, act.kind.name, act.author, act.parts)
