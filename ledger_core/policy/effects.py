"""Effects: what holds of an entry, folded from the changes that took effect, in log order.

Which version counts, which parts are hidden or erased, which cases hold it. "At an index"
means by what took effect before it. ::

    5 note A                 version A
    8 note B amends A        version B
    9 rollback of A, to 8    version A
    11 rollback of A, to 9   version B

The entries themselves stay as they are.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import islice

from ledger_core.policy.constitution import Constitution


@dataclass(frozen=True)
class Move:
    """From ``at`` on this version counts (leaf hash; None: none does). ``by``: the change."""

    at: int
    version: bytes | None
    by: bytes


@dataclass(frozen=True)
class Veil:
    """From ``at`` on the part is seen by these roles only; by whoever it was, if None."""

    at: int
    part: str
    visible_to: frozenset[str] | None
    by: bytes


@dataclass(frozen=True)
class Holding:
    """From ``at`` on the case holds the entry, or does not."""

    at: int
    case: str
    is_held: bool
    by: bytes


@dataclass(frozen=True)
class Gone:
    """From ``at`` on the part is erased."""

    at: int
    part: str
    by: bytes


@dataclass(frozen=True)
class Effect:
    """What holds of one entry. ``parts``: those its record commits to.

    ``original``: of an amendment, the leaf hash of the first version.

    ``ordered_at``, ``done_at``: of an order to erase, where it took effect and where it was done.
    """

    index: int
    leaf_hash: bytes
    type: str
    author: str
    parts: tuple[str, ...] = ()
    original: bytes | None = None
    moves: tuple[Move, ...] = ()
    veils: tuple[Veil, ...] = ()
    holdings: tuple[Holding, ...] = ()
    erasures: tuple[Gone, ...] = ()
    ordered_at: int | None = None
    done_at: int | None = None

    @property
    def changes(self) -> int:
        return sum(map(len, (self.moves, self.veils, self.holdings, self.erasures)))

    @property
    def head(self) -> bytes:
        """The version that an amendment must name: the current one, or the first if none is."""
        return self.moves[-1].version or self.leaf_hash if self.moves else self.leaf_hash

    def version_at(self, since: int | None, index: int) -> bytes | None:
        """Return the version that counts at ``index``; ``since``: where the entry took effect."""
        moved = [move for move in self.moves if move.at < index]
        if moved:
            return moved[-1].version
        return self.leaf_hash if since is not None and since < index else None

    def veils_at(self, index: int) -> dict[str, Veil]:
        """Return the parts hidden at ``index``, and by what."""
        last = {veil.part: veil for veil in self.veils if veil.at < index}
        return {part: veil for part, veil in last.items() if veil.visible_to is not None}

    def cases_at(self, index: int) -> frozenset[str]:
        """Return the cases that hold the entry at ``index``."""
        last = {each.case: each for each in self.holdings if each.at < index}
        return frozenset(case for case, each in last.items() if each.is_held)

    def erased_at(self, index: int) -> dict[str, Gone]:
        """Return the parts erased by orders that name them."""
        return {gone.part: gone for gone in self.erasures if gone.at < index}


def retired_at(
    constitution: Constitution, effect: Effect, received_at: int, part: str, index: int
) -> int | None:
    """Return the index of the schedule's first order that reaches this part at ``index``."""
    history = constitution.retentions.get((effect.type, part), ())
    # Each order reaches further than the one before it, or is refused.
    first = bisect_right(history, received_at, key=lambda order: order[1])
    for at, _ in islice(history, first, None):
        if at >= index:
            return None
        if effect.index < at and not effect.cases_at(at):
            return at
    return None
