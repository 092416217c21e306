"""States: what holds of one entry at an index, in a word, and how it came to that.

The word is about versions. ``in-effect``: this is the version that counts. ``amended``: a later
one does. ``rolled-back``: an earlier one does, or none. An entry that has to be agreed to is
``waiting`` first, and says how that ended if it was not confirmed; ``absent``: not there yet.

What is redacted, erased or held is told beside the word: it concerns parts, and the entry itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect, Move, Veil, retired_at
from ledger_core.policy.proposals import Proposal
from ledger_core.records.types.outcome import Verdict

Word = Literal[
    "in-effect",
    "amended",
    "rolled-back",
    "waiting",
    "rejected",
    "withdrawn",
    "expired",
    "absent",
]
What = Literal[
    "amendment", "rollback", "redact", "unredact", "hold", "release", "erasure", "retention"
]


@dataclass(frozen=True)
class Facts:
    """An entry as states look at it. ``received_at`` in ms; ``parts``: of its payload."""

    index: int
    leaf_hash: bytes
    type: str
    author: str
    received_at: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Erased:
    """From ``at`` on a part is gone. ``by``: the order; None: that of the schedule at ``at``."""

    at: int
    by: bytes | None


@dataclass(frozen=True)
class Happened:
    """What one change did to an entry, in effect from ``at`` on.

    ``version``: of an amendment or a rollback, the version that counts from there on.
    """

    at: int
    what: What
    by: bytes | None
    parts: tuple[str, ...] = ()
    version: bytes | None = None
    case: str | None = None

    @property
    def is_move(self) -> bool:
        """Say whether it was about versions."""
        return self.what in ("amendment", "rollback")


@dataclass(frozen=True)
class State:
    """What holds of an entry at ``at``: by what took effect before it.

    ``since``: where it took effect itself, if it did. ``version``: the leaf hash of the version
    that counts, None if none does. ``original``: of an amendment, the first version's.
    """

    index: int
    leaf_hash: bytes
    at: int
    word: Word
    since: int | None
    version: bytes | None
    original: bytes | None = None
    veils: Mapping[str, Veil] = field(default_factory=dict)
    erased: Mapping[str, Erased] = field(default_factory=dict)
    cases: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Known:
    """What is known of the entries of one ledger: effects and proposals by leaf hash.

    An entry without an effect was never changed; one without a proposal never waited.
    """

    constitution: Constitution
    effects: Mapping[bytes, Effect]
    proposals: Mapping[bytes, Proposal]

    def effect(self, facts: Facts) -> Effect:
        return self.effects.get(facts.leaf_hash) or Effect(
            facts.index, facts.leaf_hash, facts.type, facts.author
        )

    def since(self, effect: Effect) -> int | None:
        """Return where an entry took effect, None if it has not."""
        proposal = self.proposals.get(effect.leaf_hash)
        if proposal is None:
            return effect.index
        return proposal.outcome if proposal.verdict == "confirmed" else None


def state_at(known: Known, facts: Facts, at: int) -> State:
    """Return what holds of an entry at an index."""
    effect = known.effect(facts)
    first = known.effects[effect.original] if effect.original is not None else effect
    since = known.since(effect)
    version = first.version_at(known.since(first), at)
    return State(
        index=facts.index,
        leaf_hash=facts.leaf_hash,
        at=at,
        word=_word(known, effect, first, since, version, at),
        since=since if since is not None and since < at else None,
        version=version,
        original=effect.original,
        veils=effect.veils_at(at),
        erased=dict(_erased(known.constitution, effect, facts, at)),
        cases=effect.cases_at(at),
    )


def _word(
    known: Known, effect: Effect, first: Effect, since: int | None, version: bytes | None, at: int
) -> Word:
    if at <= effect.index:
        return "absent"
    if since is None or since >= at:
        return _waits(known.proposals.get(effect.leaf_hash), at)
    if version == effect.leaf_hash:
        return "in-effect"
    return "amended" if _is_later(first, version, effect.leaf_hash, at) else "rolled-back"


def _waits(proposal: Proposal | None, at: int) -> Word:
    """Say how far a proposal was at an index at which it was not in effect."""
    if proposal is None or proposal.outcome is None or proposal.outcome >= at:
        return "waiting"
    ended: dict[Verdict | None, Word] = {
        "rejected": "rejected",
        "withdrawn": "withdrawn",
        "expired": "expired",
    }
    return ended.get(proposal.verdict, "waiting")


def _is_later(first: Effect, version: bytes | None, than: bytes, at: int) -> bool:
    """Say whether a version was made after another one."""
    made = [move.version for move in first.moves if move.at < at and _is_amendment(move)]
    if version not in made:
        return False  # The first version, or none.
    return than not in made or made.index(than) < made.index(version)


def _is_amendment(move: Move) -> bool:
    return move.version == move.by


def _erased(
    constitution: Constitution, effect: Effect, facts: Facts, at: int
) -> Iterator[tuple[str, Erased]]:
    ordered = effect.erased_at(at)
    for part in facts.parts:
        if part in ordered:
            yield part, Erased(ordered[part].at, ordered[part].by)
        else:
            retired = retired_at(constitution, effect, facts.received_at, part, at)
            if retired is not None:
                yield part, Erased(retired, None)


def history_of(known: Known, facts: Facts, at: int) -> list[Happened]:
    """Return what was done to an entry before an index, in the order in which it took effect.

    Of an amendment's versions the first version tells.
    """
    effect = known.effect(facts)
    found = [*_moves(effect), *_veils(effect), *_holdings(effect)]
    erased = dict(_erased(known.constitution, effect, facts, at))
    for each in dict.fromkeys(erased.values()):
        parts = tuple(name for name, other in erased.items() if other == each)
        what: What = "retention" if each.by is None else "erasure"
        found.append(Happened(each.at, what, each.by, parts))
    return sorted((each for each in found if each.at < at), key=lambda each: each.at)


def _moves(effect: Effect) -> Iterator[Happened]:
    for move in effect.moves:
        what: What = "amendment" if _is_amendment(move) else "rollback"
        yield Happened(move.at, what, move.by, version=move.version)


def _veils(effect: Effect) -> Iterator[Happened]:
    for at, by, is_hidden in dict.fromkeys(
        (veil.at, veil.by, veil.visible_to is not None) for veil in effect.veils
    ):
        parts = tuple(veil.part for veil in effect.veils if (veil.at, veil.by) == (at, by))
        yield Happened(at, "redact" if is_hidden else "unredact", by, parts)


def _holdings(effect: Effect) -> Iterator[Happened]:
    for each in effect.holdings:
        yield Happened(each.at, "hold" if each.is_held else "release", each.by, case=each.case)
