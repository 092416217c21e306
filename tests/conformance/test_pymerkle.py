"""pymerkle, a Merkle tree written by others, as the oracle for our roots and proofs.

It is under the GPL: the tests ask it questions, and nothing we ship depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from ledger_core.merkle import tree

pymerkle: Any = pytest.importorskip("pymerkle", reason="pymerkle is not installed")

EVERY_SIZE = 40
"""Small trees are compared at every size and index."""

SIZES = (63, 64, 65, 127, 128, 255, 256, 257, 511, 512, 513, 1000)
"""Larger ones where a level fills up, and just before and after."""


@dataclass(frozen=True)
class Trees:
    """The same leaves in both trees."""

    hashes: Sequence[bytes]
    oracle: Any

    def read(self, nodes: Sequence[tree.NodeId]) -> list[bytes]:
        """Answer as storage would: the roots of perfect subtrees."""
        return [
            tree.root(self.hashes[node.position << node.level : node.position + 1 << node.level])
            for node in nodes
        ]

    def oracle_path(self, index: int, size: int) -> list[bytes]:
        # pymerkle counts leaves from one and begins its path with the leaf itself.
        path: list[bytes] = self.oracle.prove_inclusion(index + 1, size).path
        assert path[0] == self.hashes[index]
        return path[1:]


@pytest.fixture(scope="module")
def trees() -> Trees:
    # The first leaf is empty and lengths vary, so that neither is a special case by luck.
    leaves = [bytes([number % 251]) * (number % 97) for number in range(max(SIZES))]
    oracle = pymerkle.InmemoryTree(algorithm="sha256")
    oracle.append_entries(leaves)
    return Trees([tree.leaf_hash(leaf) for leaf in leaves], oracle)


def indexes_of(size: int) -> list[int]:
    if size <= EVERY_SIZE:
        return list(range(size))
    return sorted({0, 1, size // 3, size // 2 - 1, size // 2, size - 2, size - 1})


ALL_SIZES = [*range(1, EVERY_SIZE + 1), *SIZES]


def test_roots_are_those_of_pymerkle_at_every_size(trees: Trees) -> None:
    for size in [0, *ALL_SIZES]:
        assert tree.root(trees.hashes[:size]) == trees.oracle.get_root(size), size
        assert tree.root_at(size, trees.read) == trees.oracle.get_root(size), size


def test_growing_leads_to_the_roots_of_pymerkle(trees: Trees) -> None:
    frontier = tree.Frontier()
    for size in ALL_SIZES:
        frontier = frontier.extend(trees.hashes[frontier.size : size])
        assert frontier.root() == trees.oracle.get_root(size), size


def test_inclusion_proofs_are_those_of_pymerkle_hash_for_hash(trees: Trees) -> None:
    for size in ALL_SIZES:
        for index in indexes_of(size):
            ours = tree.prove_inclusion(index, size, trees.read)
            assert ours == trees.oracle_path(index, size), (index, size)


def test_inclusion_proofs_of_pymerkle_pass_our_check(trees: Trees) -> None:
    for size in ALL_SIZES:
        for index in indexes_of(size):
            proof = trees.oracle_path(index, size)
            tree.check_inclusion(
                index, size, trees.hashes[index], proof, trees.oracle.get_root(size)
            )


def test_consistency_proofs_connect_the_roots_of_pymerkle(trees: Trees) -> None:
    # The proofs themselves differ: pymerkle splits the old tree where RFC 6962 does not.
    for to_size in ALL_SIZES:
        for from_size in {1, *(index + 1 for index in indexes_of(to_size))}:
            tree.check_consistency(
                from_size,
                to_size,
                trees.oracle.get_root(from_size),
                trees.oracle.get_root(to_size),
                tree.prove_consistency(from_size, to_size, trees.read),
            )
