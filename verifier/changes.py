"""What is known of entries that changes name, and what was said of each change (17 and 18).

A change is judged as the service judged it, by the type and author of the entries it names. Of
entries that the archive does not show these are not known. Then the change is judged by those
that are; what became of it is taken from the log, for the sake of what it did to them; and what
could not be judged is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import msgspec

from ledger_core import ids
from ledger_core.errors import DanglingReferenceError, RefusedError
from ledger_core.policy import changes
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import Assembly
from ledger_core.policy.changes import Amendment, Change
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect
from ledger_core.policy.mutations import list_mutations
from ledger_core.policy.proposals import agreeing
from ledger_core.records.types.bundle import Bundle
from ledger_core.records.types.erasure_done import ErasureDone
from ledger_core.records.types.outcome import Outcome
from ledger_core.records.types.rollback import Rollback
from verifier import contents
from verifier.parts import Named
from verifier.register import Expected


class Changes:
    """Changes so far. Grows with them and the entries they name, not with entries."""

    def __init__(self) -> None:
        self.effects: dict[bytes, Effect] = {}
        """Of the entries that changes name, as far as they are shown."""
        self.assumed: set[bytes] = set()
        """Proposals whose end is taken from the log: not all that they are about is shown."""
        self.not_judged = 0
        self._places: dict[bytes, int] = {}
        self._partly: set[bytes] = set()
        """Changes of which not all targets are shown."""
        self._unread: set[bytes] = set()
        """Amendments of versions that are not known."""
        self._told: list[Act] = []

    def know(self, named: Mapping[int, Named | None], leaf_of: Callable[[int], bytes]) -> None:
        """Learn of entries that changes name; of one that is not shown no more than where it is."""
        for index, entry in named.items():
            leaf_hash = leaf_of(index)
            self._places[leaf_hash] = index
            if entry is not None:
                effect = Effect(index, leaf_hash, entry.type, entry.author, tuple(entry.parts))
                self.effects.setdefault(leaf_hash, effect)

    def by_index(self) -> dict[int, Effect]:
        return {each.index: each for each in self.effects.values()}

    def tell(self, act: Act) -> None:
        """Note that the register has to list an entry."""
        self._places[act.leaf_hash] = act.index
        self._told.append(act)

    # --- judging -------------------------------------------------------------------

    def take(self, assembly: Assembly, act: Act, change: Change, *, is_partial: bool) -> None:
        """Judge a change and let it take effect, wait, or, if it cannot be judged, pass."""
        if act.leaf_hash in self.effects:  # Changes to come name it, so its parts are known.
            act = msgspec.structs.replace(act, parts=self.effects[act.leaf_hash].parts)
        seen = self._restrict(act, change)
        if seen is None:
            self._pass_over(act, change, is_partial=is_partial)
            return
        is_move = isinstance(change, Amendment | Rollback)
        try:
            policy = assembly.check(seen)
        except RefusedError as error:
            if not (is_partial and is_move):
                contents.refute_alteration(act.index, act.kind, error)
            # A version that is not shown may have come between. Who may ask, is known.
            self._check_right(assembly.constitution, seen, error)
            self._pass_over(act, change, is_partial=True)
            return
        assembly.take(seen, policy)
        if seen is not act:
            self._partly.add(act.leaf_hash)
        if policy is not None and (seen is not act or (is_partial and is_move)):
            self._assume_proposal(assembly, act.leaf_hash, is_move=is_move)

    def _assume_proposal(self, assembly: Assembly, leaf_hash: bytes, *, is_move: bool) -> None:
        """Take from the log how a proposal ends. What a move then does cannot be known."""
        self.assumed.add(leaf_hash)
        self.not_judged += 1
        assembly.due.clear()
        if is_move:
            assembly.proposals[leaf_hash] = replace(assembly.proposals[leaf_hash], change=None)

    def _restrict(self, act: Act, change: Change) -> Act | None:
        """Return a change of those of its targets that are known; None if none of them is."""
        named = changes.named_by(change)
        known = {digest for digest in named if self._is_known(digest, change)}
        if len(known) == len(named):
            return act
        if isinstance(change, Amendment) or not known:
            return None
        targets = tuple(
            each for each, digest in zip(change.targets, named, strict=True) if digest in known
        )
        body = msgspec.structs.replace(change, targets=targets)
        return msgspec.structs.replace(act, payload={"body": body})

    def _is_known(self, digest: str, change: Change) -> bool:
        leaf_hash = ids.parse_digest(digest)
        if isinstance(change, Amendment) and leaf_hash in self._unread:
            return False
        return leaf_hash in self.effects

    def _pass_over(self, act: Act, change: Change, *, is_partial: bool) -> None:
        if not is_partial:
            error = DanglingReferenceError("it names an entry that is not there")
            contents.refute_alteration(act.index, act.kind, error)
        self.not_judged += 1
        self.assumed.add(act.leaf_hash)
        if isinstance(change, Amendment):
            self._unread.add(act.leaf_hash)

    def _check_right(self, constitution: Constitution, act: Act, error: RefusedError) -> None:
        """17: whoever asks for a change may ask for it, though its targets cannot be judged."""
        change = changes.read_change(act.kind, act.payload, act.amends)
        assert change is not None, "what is no change is not looked at here"
        targets = [self.effects[ids.parse_digest(each)] for each in changes.named_by(change)]
        if isinstance(change, Amendment) and targets[0].original is not None:
            targets = [self.effects[targets[0].original]]
        try:
            policy = changes.policy_over(constitution, change, targets)
            changes.check_right(constitution, change, targets, act.author, act.index, policy)
        except RefusedError as reason:
            contents.refute_alteration(act.index, act.kind, reason)

    def is_unseen(self, done: ErasureDone) -> bool:
        """Say whether an order that is said to be done is not shown, or what it did is not."""
        leaf_hash = ids.parse_digest(done.order)
        order = self.effects.get(leaf_hash)
        return order is None or (order.ordered_at is None and leaf_hash in self.assumed)

    def assume(self, assembly: Assembly, act: Act) -> None:
        """Let a bundle or an outcome that cannot be judged do what it does to known entries."""
        body, known = act.payload["body"], assembly.proposals
        if isinstance(body, Bundle):
            joined = tuple(each for each in body.proposals if ids.parse_digest(each) in known)
            body = msgspec.structs.replace(body, proposals=joined) if joined else None
        elif not isinstance(body, Outcome) or ids.parse_digest(body.proposal) not in known:
            body = None
        if body is None:
            return
        self.assumed.add(act.leaf_hash)
        try:
            assembly.take(msgspec.structs.replace(act, payload={"body": body}), None)
        except RefusedError as error:
            contents.refute_alteration(act.index, act.kind, error)
        finally:
            assembly.due.clear()

    def assume_open(self, assembly: Assembly, leaf_hash: bytes) -> None:
        """Take from the log how a proposal behind the range ends, if it is one."""
        if leaf_hash in assembly.proposals and leaf_hash not in self.assumed:
            self._assume_proposal(assembly, leaf_hash, is_move=False)

    # --- the register ----------------------------------------------------------------

    def expected(self, assembly: Assembly) -> Iterator[Expected]:
        """Yield the register's lines as these entries have them."""
        proposals = assembly.proposals
        for act in self._told:
            proposal = proposals.get(act.leaf_hash)
            decided = proposals.get(proposal.bundle) if proposal and proposal.bundle else proposal
            agreed = len(agreeing(assembly.constitution, decided)) if decided is not None else 0
            behind = {act.leaf_hash, decided.leaf_hash if decided is not None else act.leaf_hash}
            is_judged = behind.isdisjoint(self.assumed | self._partly)
            for line in list_mutations(act, proposal, agreed, self._find):
                yield Expected(line, is_judged=is_judged)

    def _find(self, digest: str) -> int | None:
        return self._places.get(ids.parse_digest(digest))
