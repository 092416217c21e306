"""Receipts and checkpoints that others kept: what they need from the tree, and the answers."""

from __future__ import annotations

from dataclasses import dataclass

from ledger_core.errors import MalformedError
from ledger_core.formats.archive import RangeProof
from ledger_core.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger_core.formats.note import parse_note
from ledger_core.formats.receipt import Receipt, parse_receipt
from ledger_core.merkle.tree import Frontier


@dataclass(frozen=True)
class Kept:
    """One file given by the user: a signed checkpoint, and the receipt it came in, if any."""

    name: str
    signed: bytes
    checkpoint: Checkpoint
    receipt: Receipt | None = None


def parse_kept_receipt(name: str, raw: bytes) -> Kept:
    try:
        receipt = parse_receipt(raw)
    except MalformedError as error:
        raise MalformedError(f"{name}: {error}") from None
    return Kept(name, receipt.checkpoint, _parse(receipt.checkpoint), receipt)


def parse_kept_checkpoint(name: str, raw: bytes) -> Kept:
    try:
        return Kept(name, raw, _parse(raw))
    except MalformedError as error:
        raise MalformedError(f"{name}: {error}") from None


def _parse(raw: bytes) -> Checkpoint:
    return parse_checkpoint(parse_note(raw).text)


class Evidence:
    """Gathers, while the tree is folded, the roots and leaf hashes that evidence speaks of."""

    def __init__(self, kept: tuple[Kept, ...], proof: RangeProof) -> None:
        self._sizes = {each.checkpoint.size for each in kept}
        self._indexes = {each.receipt.index for each in kept if each.receipt}
        self._roots: dict[int, bytes] = {}
        self._leaves: dict[int, bytes] = {}
        self._note_root(proof.before())

    def wants(self, start: int, end: int) -> bool:
        """Say whether leaf hashes inside [start, end) are needed one by one."""
        return any(start < size < end for size in self._sizes) or any(
            start <= index < end for index in self._indexes
        )

    def take(self, frontier: Frontier, leaves: list[bytes], after: Frontier) -> None:
        """Note what is asked for between two frontiers, ``leaves`` apart if they are wanted."""
        start = frontier.size
        if leaves:
            for size in sorted(size for size in self._sizes if start < size < after.size):
                frontier = frontier.extend(leaves[frontier.size - start : size - start])
                self._note_root(frontier)
            for index in self._indexes:
                if start <= index < after.size:
                    self._leaves[index] = leaves[index - start]
        self._note_root(after)

    def take_whole(self, checkpoint: Checkpoint) -> None:
        """Note the root of the whole tree, which the archive's own checkpoint has."""
        self._roots.setdefault(checkpoint.size, checkpoint.root)

    def _note_root(self, frontier: Frontier) -> None:
        if frontier.size in self._sizes:
            self._roots[frontier.size] = frontier.root()

    def take_leaf(self, index: int, leaf_hash: bytes) -> None:
        """Note an entry shown for context."""
        if index in self._indexes:
            self._leaves[index] = leaf_hash

    def root_of(self, kept: Kept) -> bytes | None:
        """Return this tree's root at the size of a kept checkpoint, if the entries show it."""
        return self._roots.get(kept.checkpoint.size)

    def leaf_of(self, kept: Kept) -> bytes | None:
        """Return the leaf hash here at the index of a kept receipt, if the archive has it."""
        return self._leaves.get(kept.receipt.index) if kept.receipt else None
