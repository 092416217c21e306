"""The RFC 6962 Merkle tree: hash, grow, prove, check.

::

    leaf hash  = SHA-256(0x00 || leaf)
    node hash  = SHA-256(0x01 || left || right)
    MTH({})    = SHA-256("")
    MTH(D[n])  = node(MTH(D[0:k]), MTH(D[k:n])), k the largest power of two below n

A *perfect* subtree has ``2**level`` leaves and is named by ``NodeId(level, position)``:
it covers leaves ``position * 2**level`` up to ``(position + 1) * 2**level``. Once full it
never changes, so any proof for any two sizes is made of perfect subtrees: first name
the nodes a proof needs, read them all at once, then fold them.

Hashes are 32 bytes. ``check_*`` raise :class:`ProofError` and return nothing.
Sources: RFC 6962 section 2.1, RFC 9162 section 2.1.3 to 2.1.5,
draft-ietf-plants-merkle-tree-certs section 4 (subtrees).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

from ledger_core.errors import ProofError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


class NodeId(NamedTuple):
    """A perfect subtree: ``2**level`` leaves, the ``position``-th of its level."""

    level: int
    position: int


NodeReader = Callable[[Sequence[NodeId]], Sequence[bytes]]
"""Returns the hashes of perfect subtrees, in the order they were named."""


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes, or over the roots of equal perfect subtrees."""
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        # A lone last node moves up unchanged: the same tree as RFC 6962's split at k.
        lone = row[-1:] if len(row) % 2 else []
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)] + lone
    return row[0]


# --- growing -----------------------------------------------------------------


@dataclass(frozen=True)
class Frontier:
    """All a log must remember to grow: the perfect subtrees covering ``size`` leaves.

    ``hashes`` goes from left (largest) to right, one per set bit of ``size``.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def root(self) -> bytes:
        return fold(self.hashes) if self.size else EMPTY_ROOT

    def extend(self, hashes: Iterable[bytes], level: int = 0) -> Frontier:
        """Return the frontier after more perfect subtrees of ``2**level`` leaves each.

        Level 0 appends leaf hashes. ``size`` must be a multiple of ``2**level``.
        """
        if self.size % (1 << level):
            raise ProofError(f"size {self.size} takes no subtree of {1 << level} leaves")
        size, stack = self.size >> level, list(self.hashes)
        for new in hashes:
            node, bits = new, size
            while bits & 1:
                node = node_hash(stack.pop(), node)
                bits >>= 1
            stack.append(node)
            size += 1
        return Frontier(size << level, tuple(stack))


def fold(hashes: Sequence[bytes]) -> bytes:
    """Combine the hashes of neighbouring subtrees, largest first, into their root."""
    node = hashes[-1]
    for left in reversed(hashes[:-1]):
        node = node_hash(left, node)
    return node


class Growth:
    """The tree from ``before`` on, after new leaves: what it grew to, and proofs for those leaves.

    What proofs are made of is computed for the first of them: a batch of b leaves costs b hashes,
    2b more if it is asked for any, and each costs log n look-ups.
    """

    def __init__(self, before: Frontier, leaf_hashes: Sequence[bytes]) -> None:
        self.frontier = before.extend(leaf_hashes)
        self.size = self.frontier.size
        self.root = self.frontier.root()
        self._before = before
        self._leaf_hashes = leaf_hashes

    @cached_property
    def _rows(self) -> list[tuple[int, list[bytes]]]:
        """Per level, the nodes from the old right edge to the new one, and where they begin."""
        rows: list[tuple[int, list[bytes]]] = []
        edge = list(self._before.hashes)
        first, row = self._before.size, list(self._leaf_hashes)
        level = 0
        while True:
            if self._before.size >> level & 1:
                first, row = first - 1, [edge.pop(), *row]
            rows.append((first, row))
            if first == 0 and len(row) <= 1:
                return rows
            lone = row[-1:] if len(row) % 2 else []
            row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)] + lone
            first, level = first >> 1, level + 1

    def prove_inclusion(self, index: int) -> list[bytes]:
        """Prove a leaf at or after the old size, in the grown tree."""
        if not self._before.size <= index < self.size:
            raise ProofError(f"leaf {index} is not one of the new ones, up to {self.size}")
        proof: list[bytes] = []
        for first, row in self._rows[:-1]:
            sibling = (index ^ 1) - first
            if sibling < len(row):
                proof.append(row[sibling])
            index >>= 1
        return proof


# --- naming nodes and proving --------------------------------------------------


def perfect_subtrees(start: int, end: int) -> list[NodeId]:
    """Name the fewest perfect subtrees covering leaves ``[start, end)``, left to right."""
    nodes: list[NodeId] = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        nodes.append(NodeId(level, start >> level))
        start += 1 << level
    return nodes


def _inclusion_ranges(index: int, start: int, end: int) -> list[tuple[int, int]]:
    """RFC 6962 section 2.1.1: the sibling ranges from the leaf up."""
    ranges: list[tuple[int, int]] = []
    while end - start > 1:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def _consistency_ranges(from_size: int, to_size: int) -> list[tuple[int, int]]:
    """RFC 6962 section 2.1.2: SUBPROOF(m, D[n], true) as ranges."""
    start, end, whole = 0, to_size, True
    ranges: list[tuple[int, int]] = []
    while end != from_size:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if from_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start, whole = middle, False
    if not whole:
        ranges.append((start, end))
    return ranges[::-1]


def _prove(ranges: Sequence[tuple[int, int]], read: NodeReader) -> list[bytes]:
    named = [perfect_subtrees(start, end) for start, end in ranges]
    hashes = iter(read([node for nodes in named for node in nodes]))
    return [fold([next(hashes) for _ in nodes]) for nodes in named]


def prove_inclusion(index: int, size: int, read: NodeReader) -> list[bytes]:
    """Return the audit path of leaf ``index`` in the tree of ``size`` leaves."""
    if not 0 <= index < size:
        raise ProofError(f"no leaf {index} in a tree of size {size}")
    return _prove(_inclusion_ranges(index, 0, size), read)


def prove_consistency(from_size: int, to_size: int, read: NodeReader) -> list[bytes]:
    """Return the proof that the tree of ``to_size`` continues the one of ``from_size``."""
    if not 0 < from_size <= to_size:
        raise ProofError(f"no consistency proof from size {from_size} to {to_size}")
    return _prove(_consistency_ranges(from_size, to_size), read)


def root_at(size: int, read: NodeReader) -> bytes:
    """Return the root of the first ``size`` leaves."""
    return fold(read(perfect_subtrees(0, size))) if size else EMPTY_ROOT


# --- checking ----------------------------------------------------------------


def check_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that ``leaf`` (a leaf hash) is at ``index`` in the tree of ``size`` and ``root``."""
    check_subtree_inclusion(index, 0, size, leaf, proof, root)


def check_subtree_inclusion(
    index: int, start: int, end: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that ``leaf`` is at ``index`` in the subtree ``[start, end)`` with ``root``."""
    _check_subtree_bounds(start, end, end)
    if not start <= index < end:
        raise ProofError(f"index {index} is not in [{start}, {end})")
    if root_from_inclusion(index - start, end - start, leaf, proof) != root:
        raise ProofError(f"inclusion proof of index {index} leads to another root")


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """Return the root that an audit path leads to; its length must be exactly right."""
    _check_lengths([leaf, *proof])
    node, position, last = leaf, index, size - 1
    path = iter(proof)
    while last:
        if position & 1:
            node = node_hash(_next(path), node)
        elif position < last:
            node = node_hash(node, _next(path))
        position, last = position >> 1, last >> 1
    _check_end(path)
    return node


def check_consistency(
    from_size: int, to_size: int, from_root: bytes, to_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree ``to_size``/``to_root`` continues ``from_size``/``from_root``.

    From size 0 there is nothing to check, so asking is an error.
    """
    if from_size <= 0:
        raise ProofError("consistency with an empty tree means nothing")
    check_subtree_consistency(0, from_size, to_size, from_root, to_root, proof)


def check_subtree_consistency(
    start: int, end: int, size: int, subtree_root: bytes, root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that ``[start, end)`` with ``subtree_root`` is a part of the tree ``size``/``root``."""
    _check_subtree_bounds(start, end, size)
    _check_lengths(proof)
    if start == end:
        _check_empty(subtree_root, proof)
        return
    first, last, top = start, end - 1, size - 1
    # Skip the levels at which the subtree's own root is still to be reached.
    while first != last and (last & 1 or last == top):
        first, last, top = first >> 1, last >> 1, top >> 1
    path = iter(proof)
    part = whole = subtree_root if first == last else _next(path)
    while top:
        if last & 1 or last == top:
            left = _next(path)
            part = node_hash(left, part) if first < last else part
            whole = node_hash(left, whole)
            while not last & 1 and last:
                first, last, top = first >> 1, last >> 1, top >> 1
        else:
            whole = node_hash(whole, _next(path))
        first, last, top = first >> 1, last >> 1, top >> 1
    _check_end(path)
    if part != subtree_root:
        raise ProofError(f"consistency proof leads to another root at size {end}")
    if whole != root:
        raise ProofError(f"consistency proof leads to another root at size {size}")


def _check_subtree_bounds(start: int, end: int, size: int) -> None:
    if not 0 <= start <= end <= size:
        raise ProofError(f"[{start}, {end}) is not a part of a tree of size {size}")
    if start < end and start % (1 << (end - start - 1).bit_length()):
        raise ProofError(f"[{start}, {end}) is not a subtree: its start is not aligned")


def _check_empty(subtree_root: bytes, proof: Sequence[bytes]) -> None:
    if proof or subtree_root != EMPTY_ROOT:
        raise ProofError("an empty subtree has the empty root and needs no proof")


def _check_lengths(hashes: Iterable[bytes]) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofError("a hash in the proof is not 32 bytes long")


def _next(path: Iterable[bytes]) -> bytes:
    node = next(iter(path), None)
    if node is None:
        raise ProofError("proof is too short")
    return node


def _check_end(path: Iterable[bytes]) -> None:
    if next(iter(path), None) is not None:
        raise ProofError("proof is too long")
