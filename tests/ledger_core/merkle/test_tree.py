"""The Merkle tree: every way to a root agrees, and a proof proves one thing only."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_core.errors import ProofError
from ledger_core.merkle import tree

EVERY_SIZE = 300
LEAVES = [tree.leaf_hash(b"leaf %d" % n) for n in range(5000)]
OTHER = tree.leaf_hash(b"another leaf")


def read(nodes: Sequence[tree.NodeId]) -> list[bytes]:
    return [tree.root(LEAVES[p << level : (p + 1) << level]) for level, p in nodes]


def mth(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, word by word."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else sha256(b"").digest()
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + mth(hashes[:k]) + mth(hashes[k:])).digest()


def audit_path(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, word by word."""
    if len(hashes) <= 1:
        return []
    k = 1 << (len(hashes) - 1).bit_length() - 1
    if index < k:
        return [*audit_path(index, hashes[:k]), mth(hashes[k:])]
    return [*audit_path(index - k, hashes[k:]), mth(hashes[:k])]


def subproof(m: int, hashes: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962 section 2.1.2, word by word."""
    if m == len(hashes):
        return [] if whole else [mth(hashes)]
    k = 1 << (len(hashes) - 1).bit_length() - 1
    if m <= k:
        return [*subproof(m, hashes[:k], whole), mth(hashes[k:])]
    return [*subproof(m - k, hashes[k:], False), mth(hashes[:k])]


ROOTS = [tree.root(LEAVES[:size]) for size in range(EVERY_SIZE + 1)]


def test_every_way_to_a_root_leads_to_the_one_of_rfc_6962() -> None:
    frontier = tree.Frontier()
    for size in range(EVERY_SIZE + 1):
        expected = mth(LEAVES[:size])
        assert tree.root(LEAVES[:size]) == expected
        assert tree.root_at(size, read) == expected
        assert frontier.root() == expected
        assert tree.Growth(tree.Frontier(), LEAVES[:size]).root == expected
        frontier = frontier.extend(LEAVES[size : size + 1])


@pytest.mark.parametrize("size", [*range(1, 36), 63, 64, 65, 127, 128, 129, 200, 255, 256, 257])
def test_proofs_are_those_of_rfc_6962_hash_for_hash(size: int) -> None:
    hashes = LEAVES[:size]
    for index in range(size):
        assert tree.prove_inclusion(index, size, read) == audit_path(index, hashes)
        assert tree.prove_consistency(index + 1, size, read) == subproof(index + 1, hashes)


def test_every_leaf_of_every_size_is_proven_in_it() -> None:
    for size in range(1, EVERY_SIZE + 1):
        for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
            proof = tree.prove_inclusion(index, size, read)
            tree.check_inclusion(index, size, LEAVES[index], proof, ROOTS[size])


def test_every_size_continues_every_smaller_one() -> None:
    for to_size in range(1, EVERY_SIZE + 1, 7):
        for from_size in range(1, to_size + 1):
            proof = tree.prove_consistency(from_size, to_size, read)
            tree.check_consistency(from_size, to_size, ROOTS[from_size], ROOTS[to_size], proof)


sizes = st.integers(1, len(LEAVES))


@settings(max_examples=40)
@given(sizes, sizes)
def test_growing_by_batches_gives_the_root_and_the_proofs_of_the_grown_tree(
    one: int, other: int
) -> None:
    old, new = sorted([one, other])
    before = tree.Frontier().extend(LEAVES[:old])
    growth = tree.Growth(before, LEAVES[old:new])
    assert growth.size == new
    assert growth.root == tree.root(LEAVES[:new]) == before.extend(LEAVES[old:new]).root()
    picked = {old, new - 1, (old + new) // 2} & set(range(old, new))
    for index in picked:
        assert growth.prove_inclusion(index) == tree.prove_inclusion(index, new, read)


def test_growing_in_every_split_of_small_trees_proves_every_new_leaf() -> None:
    for new in range(40):
        for old in range(new + 1):
            growth = tree.Growth(tree.Frontier().extend(LEAVES[:old]), LEAVES[old:new])
            assert growth.root == ROOTS[new]
            for index in range(old, new):
                assert growth.prove_inclusion(index) == audit_path(index, LEAVES[:new])


@pytest.mark.parametrize("index", [-1, 0, 4, 9, 100])
def test_a_growth_proves_no_leaf_but_its_new_ones(index: int) -> None:
    growth = tree.Growth(tree.Frontier().extend(LEAVES[:5]), LEAVES[5:9])
    with pytest.raises(ProofError):
        growth.prove_inclusion(index)


@given(st.integers(0, 9), st.integers(0, 40), st.integers(0, 40))
def test_a_frontier_grows_by_whole_subtrees_as_by_their_leaves(
    level: int, before: int, more: int
) -> None:
    width = 1 << level
    before, more = before % (2000 // width + 1), more % (2000 // width + 1)
    subtrees = [
        tree.root(LEAVES[n * width : (n + 1) * width]) for n in range(before, before + more)
    ]
    frontier = tree.Frontier().extend(LEAVES[: before * width])
    grown = frontier.extend(subtrees, level)
    assert grown == tree.Frontier().extend(LEAVES[: (before + more) * width])


def test_a_frontier_takes_no_subtree_across_its_edge() -> None:
    with pytest.raises(ProofError):
        tree.Frontier().extend(LEAVES[:3]).extend([OTHER], level=1)


@given(st.integers(0, 2**40), st.integers(0, 2**20))
def test_perfect_subtrees_cover_a_range_once_and_in_order(start: int, length: int) -> None:
    at = start
    for level, position in tree.perfect_subtrees(start, start + length):
        assert position << level == at
        at += 1 << level
    assert at == start + length


@pytest.mark.parametrize("index, size", [(0, 0), (5, 5), (-1, 5), (6, 5)])
def test_no_inclusion_is_proven_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        tree.prove_inclusion(index, size, read)


@pytest.mark.parametrize("from_size, to_size", [(0, 5), (6, 5), (-1, 5), (0, 0)])
def test_no_consistency_is_proven_with_nothing_or_backwards(from_size: int, to_size: int) -> None:
    with pytest.raises(ProofError):
        tree.prove_consistency(from_size, to_size, read)


# --- forgeries -------------------------------------------------------------------


def mutate(proof: Sequence[bytes], choose: random.Random) -> list[bytes]:
    """Change a proof in one of the ways that keep it a list of hashes."""
    forged = list(proof)
    at = choose.randrange(len(forged) + 1)
    inside = at % len(forged) if forged else 0
    ways: list[Callable[[], object]] = [lambda: forged.insert(at, OTHER)]
    if forged:
        flipped = bytearray(forged[inside])
        flipped[choose.randrange(32)] ^= 1 << choose.randrange(8)
        ways += [
            lambda: forged.pop(inside),
            lambda: forged.__setitem__(inside, bytes(flipped)),
            lambda: forged.__setitem__(inside, bytes(flipped[:31])),
            lambda: forged.__setitem__(inside, b""),
            lambda: forged.insert(inside, forged[inside]),
            lambda: forged.reverse(),
            lambda: forged.append(b""),
        ]
    choose.choice(ways)()
    return forged


@settings(max_examples=300)
@given(st.integers(0, 4999), sizes, st.randoms(use_true_random=False))
def test_a_forged_inclusion_proof_is_refused(index: int, size: int, choose: random.Random) -> None:
    index %= size
    proof, root = tree.prove_inclusion(index, size, read), tree.root(LEAVES[:size])
    tree.check_inclusion(index, size, LEAVES[index], proof, root)
    forged = mutate(proof, choose)
    if forged != proof:
        with pytest.raises(ProofError):
            tree.check_inclusion(index, size, LEAVES[index], forged, root)
    with pytest.raises(ProofError):
        tree.check_inclusion(index, size, OTHER, proof, root)
    with pytest.raises(ProofError):
        tree.check_inclusion(index, size, LEAVES[index], proof, OTHER)
    with pytest.raises(ProofError):
        tree.check_inclusion(index + size, size, LEAVES[index], proof, root)


@settings(max_examples=300)
@given(sizes, sizes, st.randoms(use_true_random=False))
def test_a_forged_consistency_proof_is_refused(one: int, other: int, choose: random.Random) -> None:
    from_size, to_size = sorted([one, other])
    old, new = tree.root(LEAVES[:from_size]), tree.root(LEAVES[:to_size])
    proof = tree.prove_consistency(from_size, to_size, read)
    tree.check_consistency(from_size, to_size, old, new, proof)
    forged = mutate(proof, choose)
    if forged != proof:
        with pytest.raises(ProofError):
            tree.check_consistency(from_size, to_size, old, new, forged)
    for wrong_old, wrong_new in ((OTHER, new), (old, OTHER)):
        with pytest.raises(ProofError):
            tree.check_consistency(from_size, to_size, wrong_old, wrong_new, proof)


@pytest.mark.parametrize("size", range(2, 66))
def test_no_inclusion_proof_passes_for_another_index(size: int) -> None:
    for index in range(size):
        proof = tree.prove_inclusion(index, size, read)
        for claimed in set(range(size)) - {index}:
            with pytest.raises(ProofError):
                tree.check_inclusion(claimed, size, LEAVES[index], proof, ROOTS[size])


def test_an_inner_node_never_passes_for_a_leaf() -> None:
    # The path of a leaf, without its first hash, leads from its parent to the root.
    proof = tree.prove_inclusion(5, 8, read)
    parent = tree.node_hash(LEAVES[4], LEAVES[5])
    with pytest.raises(ProofError):
        tree.check_inclusion(5, 8, parent, proof[1:], ROOTS[8])
    assert tree.leaf_hash(LEAVES[4] + LEAVES[5]) != parent


def test_a_subtree_must_be_aligned() -> None:
    proof: list[bytes] = []
    with pytest.raises(ProofError, match="aligned"):
        tree.check_subtree_inclusion(1, 1, 3, LEAVES[1], proof, ROOTS[2])
