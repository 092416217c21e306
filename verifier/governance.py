"""Replays governance in order: who stood at each index, and how every proposal had to end.

The service's word counts for nothing here: the same pure rules judge each entry again, and
what they say must follow is looked for in the log.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from ledger_core.errors import DanglingReferenceError, RefusedError, StandingError
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.trust_policy import TrustPolicy
from ledger_core.formats.vkey import LogKey, parse_vkey
from ledger_core.merkle.tree import HASH_BYTES
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import Assembly, is_speech, named_proposals, replay
from ledger_core.policy.changes import read_change
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.mutations import is_listed
from ledger_core.policy.visibility import check_parties, is_party_at
from ledger_core.records.model import Payload
from ledger_core.records.registry import find_type
from ledger_core.records.types.bundle import Bundle
from ledger_core.records.types.charter import Charter
from ledger_core.records.types.epoch import Epoch
from ledger_core.records.types.equivocation import Equivocation
from ledger_core.records.types.erasure_done import ErasureDone
from ledger_core.records.types.outcome import Outcome
from ledger_core.records.types.policy import SetPolicy
from ledger_core.records.types.withdrawal import Withdrawal
from verifier import contents, entry_checks
from verifier.changes import Changes
from verifier.epochs import OpenedEpoch, check_fork, describe_epoch
from verifier.findings import Findings, Likely, Refuted, refute
from verifier.register import Expected

_NOT_RECALLED = (Withdrawal, Equivocation, ErasureDone)
"""What from before the range is about something that is not shown."""

Authors = Mapping[tuple[str, str], "array[int]"]
"""Rising indexes of entries by (author, type)."""


@dataclass(frozen=True)
class Decree:
    """One governance entry: who wrote it, and its decoded payload. Or an amendment."""

    index: int
    author: str
    type: str
    payload: Payload
    amends: str | None = None


@dataclass(frozen=True)
class Stamps:
    """Leaf hash and time received (ms) of the entries from ``start`` on."""

    start: int
    leaf_hashes: bytes = b""
    times: array[int] = field(default_factory=lambda: array("q"))

    def hashes(self) -> list[bytes]:
        """Return the leaf hashes one by one."""
        ends = range(HASH_BYTES, len(self.leaf_hashes) + 1, HASH_BYTES)
        return [self.leaf_hashes[end - HASH_BYTES : end] for end in ends]

    def act(
        self,
        index: int,
        author: str,
        type_name: str,
        payload: Payload,
        amends: str | None = None,
    ) -> Act:
        """Return the entry as governance looks at it.

        Of a segment that is not whole nobody knows places and times; that has been found (5).
        """
        at, kind = index - self.start, find_type(type_name)
        if not 0 <= at < len(self.times):
            return Act(index, b"", 0, kind, author, payload, amends)
        return Act(index, self.leaf_hash(index), self.times[at], kind, author, payload, amends)

    def time(self, index: int) -> int:
        """Return a time received, 0 where nobody knows it."""
        at = index - self.start
        return self.times[at] if 0 <= at < len(self.times) else 0

    def leaf_hash(self, index: int) -> bytes:
        at = (index - self.start) * HASH_BYTES
        return self.leaf_hashes[at : at + HASH_BYTES]


def _parse_log_key(vkey: str) -> LogKey:
    key = parse_vkey(vkey)
    assert isinstance(key, LogKey), "the rules of charters and log keys have asked for one"
    return key


class Governance:
    """Governance so far. Grows with members, keys and proposals, not with entries."""

    def __init__(self) -> None:
        self.charter: Charter | None = None
        self.equivocations = self.not_judged = 0
        self.epochs: list[OpenedEpoch] = []
        self.changes = Changes()
        self._assembly = Assembly(Constitution(), {}, self.changes.effects)
        self._due_at = 0
        self._is_partial = False

    @property
    def constitution(self) -> Constitution:
        return self._assembly.constitution

    def log_key(self, size: int, origin: str | None = None) -> LogKey | None:
        """Return the key that signs checkpoints of a size, as governance entries name it.

        ``origin``: of an epoch, though its entries of that size may be lost.
        """
        keys = [
            key
            for index, vkey in self.constitution.log_keys
            if index < size and origin in (None, (key := _parse_log_key(vkey)).name)
        ]
        return keys[-1] if keys else None

    def extend_trust(
        self, policy: TrustPolicy, accepted: AbstractSet[str] = frozenset()
    ) -> TrustPolicy:
        """Trust those keys too to which a trusted key of this log handed over, one by one.

        Each handover was signed by the key before, which the record type's rule has verified.
        Into an epoch trust goes on only if it is among ``accepted``, and if its fork, which the
        key before signed, was seen to be the tree of this archive.
        """
        return replace(policy, logs=[*policy.logs, *self._follow(policy, accepted)[0]])

    def find_left(self, policy: TrustPolicy, accepted: AbstractSet[str]) -> OpenedEpoch | None:
        """Return the epoch at which trust in a log of the policy ends, if it does."""
        return self._follow(policy, accepted)[1]

    def _follow(
        self, policy: TrustPolicy, accepted: AbstractSet[str]
    ) -> tuple[list[LogKey], OpenedEpoch | None]:
        heirs: list[LogKey] = []
        left: OpenedEpoch | None = None
        is_believed = False
        for index, vkey in self.constitution.log_keys:
            key, opened = _parse_log_key(vkey), self._opened.get(index)
            if key in policy.logs:
                is_believed, left = True, None
            elif opened is not None and is_believed:
                is_believed = opened.is_on_fork and key.name in accepted
                left = None if is_believed else opened
            if is_believed and key not in policy.logs:
                heirs.append(key)
        return heirs, left

    @property
    def _opened(self) -> dict[int, OpenedEpoch]:
        return {each.index: each for each in self.epochs}

    def find_lost(self, kept: Checkpoint) -> OpenedEpoch | None:
        """Return the epoch in which a checkpoint that somebody kept was left behind."""
        own = {origin for _, origin in self.constitution.origins}
        for each in self.epochs:
            statement = each.statement
            if kept.origin == statement.old_origin and kept.size > statement.fork.size:
                return each
            if kept.origin not in own and kept.origin in {x.origin for x in statement.known}:
                return each
        return None

    def check_forks(self, roots: Mapping[int, bytes], findings: Findings) -> None:
        """7: each epoch of a stretch begins on the root that its statement names."""
        for place, each in enumerate(self.epochs):
            if each.index in roots:
                root = roots[each.index]
                is_so = findings.attempt(check_fork, each.index, each.statement, root)
                self.epochs[place] = replace(each, is_on_fork=is_so)

    def expected_register(self) -> Iterator[Expected]:
        """Yield the lines of the mutation register as the entries have them (18)."""
        return self.changes.expected(self._assembly)

    def verdicts(self) -> Counter[str]:
        """Count proposals by how they ended."""
        return Counter(each.verdict or "open" for each in self._assembly.proposals.values())

    def allow_gaps(self) -> None:
        """Say that entries are not shown, so that others may speak of what is not there."""
        self._is_partial = True

    # --- before the range --------------------------------------------------------

    def replay_context(
        self, decrees: list[Decree], authors: Authors, stamps: Stamps, findings: Findings
    ) -> None:
        """Take entries from before the range: what made the constitution, and open proposals.

        What led to changes that took effect is not shown, nor what concerned proposals that ended.
        """
        self._is_partial = True
        every_type = {type_name for _, type_name in authors}
        for act in self._acts(decrees, authors, stamps, every_type):
            self.begin_at(act.index, findings)
            try:
                entry_checks.check_author(act.index, act.author, self.constitution, act.kind)
                self._recall(act)
            except Refuted as refuted:
                findings.add(refuted.finding)
            self._note(act)

    def begin_at(self, index: int, findings: Findings) -> None:
        """Go on at ``index``: evidence right behind a voice before it need not be shown."""
        due = self._assembly.due
        if due and index != self._due_at:
            for each in [each for each in due if isinstance(each, Equivocation)]:
                due.remove(each)
            findings.attempt(self.check_due)

    def _recall(self, act: Act) -> None:
        """Let an entry from before the range count as far as it is known what it is about."""
        body, proposals = act.payload.get("body"), self._assembly.proposals
        named = named_proposals(act.kind, act.payload)
        if isinstance(body, Outcome) or any(each not in proposals for each in named):
            if isinstance(body, Outcome):
                self._assembly.due.clear()
            if isinstance(body, (Outcome, Bundle)):
                self._replay(act)
            for each in named:
                ended = proposals.pop(each, None)
                for part in ended.parts if ended is not None else ():
                    proposals.pop(part, None)
        elif not isinstance(body, _NOT_RECALLED) and not _asks_for_a_change(act):
            self._judge_and_take(act)

    def _replay(self, act: Act) -> None:
        grown = self.constitution.copy()
        try:
            replay(grown, act)
        except StandingError as error:
            entry_checks.refute_change(act.index, error)
        self._assembly.constitution = grown

    def judge_parties(self, parties: Mapping[str, array[int]], findings: Findings) -> None:
        """10: whom records name was a member or key at that index; by party, indexes rise.

        Who was one is one until it was removed or revoked, for good: the last tells of all
        after the first, and only if it was none the others have to be asked.
        """
        for party, indexes in parties.items():
            asked = (indexes[0], indexes[-1])
            if not all(is_party_at(self.constitution, party, index) for index in asked):
                findings.attempt(self._judge_party, party, indexes)

    def _judge_party(self, party: str, indexes: array[int]) -> None:
        for index in indexes:
            _check_party(index, party, self.constitution)

    # --- behind the range --------------------------------------------------------

    def replay_later(self, decrees: Iterable[Decree], stamps: Stamps, findings: Findings) -> None:
        """Take entries from behind the range: changes that reach into it, and what made them so."""
        self._is_partial = True
        self._assembly.due.clear()
        for each in (decree for decree in decrees if decree.amends is None):
            act = stamps.act(each.index, each.author, each.type, each.payload)
            try:
                entry_checks.check_author(act.index, act.author, self.constitution, act.kind)
                self._take_later(act)
            except Refuted as refuted:
                findings.add(refuted.finding)
            self._note(act)

    def _take_later(self, act: Act) -> None:
        assembly, changes = self._assembly, self.changes
        change = read_change(act.kind, act.payload, act.amends)
        if change is not None:
            changes.tell(act)
            changes.take(assembly, act, change, is_partial=True)
            changes.assume_open(assembly, act.leaf_hash)
        elif isinstance(act.payload["body"], Bundle | Outcome):
            self._take_unseen(act)
        elif is_listed(act.kind.name):
            changes.tell(act)
            self._judge_and_take(act)
        else:
            self._replay(act)

    # --- the range ---------------------------------------------------------------

    def replay(
        self, decrees: list[Decree], authors: Authors, stamps: Stamps, findings: Findings
    ) -> None:
        """Take the next stretch of entries: judge authors (10) and agreements (16)."""
        waiting = self._may_wait(decrees)
        for act in self._acts(decrees, authors, stamps, waiting):
            try:
                self._take(act)
            except Refuted as refuted:
                findings.add(refuted.finding)
            self._note(act)
        for (author, type_name), indexes in authors.items():
            if type_name not in waiting and not find_type(type_name).is_governance:
                findings.attempt(self._judge, author, type_name, indexes)

    def _may_wait(self, decrees: Sequence[Decree]) -> set[str]:
        """Return the types that are amended, or under a policy, at some place of this stretch."""
        constitution = self.constitution
        changes = [decree.payload.get("body") for decree in decrees]
        changes += [each.payload.get("body") for each in constitution.waiting.values()]
        found = set(constitution.governing)
        found.update(decree.type for decree in decrees if decree.amends is not None)
        for change in changes:
            if isinstance(change, SetPolicy):
                found.update(change.policy.governs)
            elif isinstance(change, Charter):
                found.update(name for policy in change.policies for name in policy.governs)
        return found

    def _acts(
        self, decrees: Sequence[Decree], authors: Authors, stamps: Stamps, waiting: set[str]
    ) -> Iterator[Act]:
        """Yield in order the entries that governance has to look at one by one."""
        acts = [stamps.act(d.index, d.author, d.type, d.payload, d.amends) for d in decrees]
        amending = {decree.index for decree in decrees if decree.amends is not None}
        for (author, type_name), indexes in authors.items():
            if type_name in waiting and not find_type(type_name).is_governance:
                others = (index for index in indexes if index not in amending)
                acts += [stamps.act(index, author, type_name, {}) for index in others]
        yield from sorted(acts, key=lambda act: act.index)

    def _take(self, act: Act) -> None:
        assembly = self._assembly
        change = read_change(act.kind, act.payload, act.amends)
        if change is not None or is_listed(act.kind.name):
            self.changes.tell(act)
        if assembly.due and act.index != self._due_at:
            self.check_due()
        entry_checks.check_author(act.index, act.author, self.constitution, act.kind)
        if _is_about_a_stream(act):
            # Judged where all counters are known (verifier/streams.py). What else is due waits.
            self._due_at += bool(assembly.due)
            return
        if self._is_of_something_unseen(act):
            self._take_unseen(act)
        elif change is not None and not assembly.due:
            self.changes.take(assembly, act, change, is_partial=self._is_partial)
            self._due_at = act.index + 1
        else:
            self._judge_and_take(act)

    def _judge_and_take(self, act: Act) -> None:
        assembly = self._assembly
        try:
            policy = assembly.check(act)
        except RefusedError as error:
            is_agreement = bool(assembly.due) or is_speech(act.kind)
            assembly.due.clear()
            if is_agreement:
                entry_checks.refute_agreement(act.index, act.kind, error)
            if is_listed(act.kind.name):
                contents.refute_alteration(act.index, act.kind, error)
            entry_checks.refute_change(act.index, error)
        assembly.take(act, policy)
        self._due_at = act.index + 1

    def _take_unseen(self, act: Act) -> None:
        """Take from the log what it says of proposals that are not shown, as far as it matters."""
        self.not_judged += 1
        self.changes.assumed.add(act.leaf_hash)
        if isinstance(act.payload.get("body"), Bundle | Outcome):
            self._replay(act)
            self.changes.assume(self._assembly, act)

    def _is_of_something_unseen(self, act: Act) -> bool:
        """Say whether an entry speaks of what the archive does not show.

        That is a proposal from before the range or withheld, or endorsements of such a one.
        """
        known, assumed = self._assembly.proposals, self.changes.assumed
        body = act.payload.get("body")
        if isinstance(body, Equivocation) and not self._assembly.due:
            return self._is_partial
        if isinstance(body, ErasureDone):
            return self._is_partial and self.changes.is_unseen(body)
        named = named_proposals(act.kind, act.payload)
        return self._is_partial and any(each not in known or each in assumed for each in named)

    def check_due(self) -> None:
        """16: what had to follow an entry did follow; raises for what is still due."""
        due = self._assembly.due
        missing, at = list(due), self._due_at
        due.clear()
        if missing:
            entry_checks.refute_due(at, missing[0])

    def finish(self, end: int, findings: Findings) -> None:
        """Look for what is due at the end; what would lie behind the range is not missed."""
        if self._assembly.due and self._due_at < end:
            findings.attempt(self.check_due)

    def _note(self, act: Act) -> None:
        body = act.payload.get("body")
        if isinstance(body, Charter):
            self.charter = body
        self.equivocations += isinstance(body, Equivocation)
        if isinstance(body, Epoch):
            self.epochs.append(describe_epoch(act.index, body, self.constitution))

    def _judge(self, author: str, type_name: str, indexes: array[int]) -> None:
        """10: the author stood at every index; raises at the first where it did not.

        A key stands from one index to another, and so does its member unless its standing
        changed: mostly first and last speak for all between.
        """
        kind, key = find_type(type_name), self.constitution.keys.get(author)
        first, last = indexes[0], indexes[-1]
        may_vary = (
            key is not None
            and key.member is not None
            and self.constitution.changes_between(first, last, key.member)
        )
        telling = indexes if may_vary else (first, last)
        if all(self._stood(index, author, type_name) for index in telling):
            return
        for index in indexes:
            entry_checks.check_author(index, author, self.constitution, kind)

    def _stood(self, index: int, author: str, type_name: str) -> bool:
        try:
            self.constitution.check_author(author, find_type(type_name), index)
        except StandingError:
            return False
        return True


def _asks_for_a_change(act: Act) -> bool:
    """Say whether an entry is to change earlier ones: of these it takes more to judge."""
    return read_change(act.kind, act.payload, act.amends) is not None


def _is_about_a_stream(act: Act) -> bool:
    body = act.payload.get("body")
    return isinstance(body, Equivocation) and body.kind == "stream"


def _check_party(index: int, party: str, constitution: Constitution) -> None:
    """10: a record names as a party who was a member or had a key at its index."""
    try:
        check_parties(constitution, (party,), index)
    except DanglingReferenceError as error:
        likely = Likely.BAD_PAYLOAD
        refute(10, "parties", "members and keys of this ledger", error, likely, index=index)
