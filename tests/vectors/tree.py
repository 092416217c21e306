"""Vectors of the Merkle tree and its tiles (docs/spec/tree.md)."""

from __future__ import annotations

from collections.abc import Sequence

from ledger_core.merkle import tree
from tests.vectors.build import Case, accept, refuse

ABOUT = "RFC 6962 hashing, inclusion and consistency proofs; C2SP tiles"
PAGE = "tree.md"

CLASSIC = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The eight leaves that the tests of Certificate Transparency have used from the start."""

PUBLISHED_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
TALL_SIZE = 70_000
TALL_ROOT = "a3920fba7f239a071a9bd10721f1341addefbaededb41c7e24437a9d16bdf00a"
"""Of leaves ``entry 0`` to ``entry 69999``, by an independent program."""


def reader(hashes: Sequence[bytes]) -> tree.NodeReader:
    """Answer for perfect subtrees as storage would."""

    def read(nodes: Sequence[tree.NodeId]) -> list[bytes]:
        return [tree.root(hashes[p << level : (p + 1) << level]) for level, p in nodes]

    return read


def _inclusion(hashes: list[bytes], index: int, size: int) -> Case:
    proof = tree.prove_inclusion(index, size, reader(hashes))
    return {
        "index": index,
        "size": size,
        "leaf_hash": hashes[index].hex(),
        "proof": [each.hex() for each in proof],
        "root": PUBLISHED_ROOTS[size],
    }


def _consistency(hashes: list[bytes], from_size: int, to_size: int) -> Case:
    proof = tree.prove_consistency(from_size, to_size, reader(hashes))
    return {
        "from_size": from_size,
        "to_size": to_size,
        "from_root": PUBLISHED_ROOTS[from_size],
        "to_root": PUBLISHED_ROOTS[to_size],
        "proof": [each.hex() for each in proof],
    }


def _roots() -> list[Case]:
    cases = [
        accept(
            f"root of the first {size} classic leaves",
            "root",
            {"leaves": [leaf.hex() for leaf in CLASSIC[:size]]},
            root,
        )
        for size, root in PUBLISHED_ROOTS.items()
    ]
    numbered = {"leaf": "entry %d", "size": TALL_SIZE}
    return [*cases, accept("root of 70,000 numbered leaves", "numbered root", numbered, TALL_ROOT)]


def _proofs() -> list[Case]:
    hashes = [tree.leaf_hash(leaf) for leaf in CLASSIC]
    cases = [
        accept(f"leaf {i} is in the tree of {n}", "check_inclusion", _inclusion(hashes, i, n))
        for n in range(1, 9)
        for i in range(n)
    ]
    cases += [
        accept(f"size {n} continues size {m}", "check_consistency", _consistency(hashes, m, n))
        for n in range(1, 9)
        for m in range(1, n + 1)
    ]
    return cases


def _bad_proofs() -> list[Case]:
    hashes = [tree.leaf_hash(leaf) for leaf in CLASSIC]
    good, other = _inclusion(hashes, 3, 7), hashes[5].hex()
    grown = _consistency(hashes, 3, 7)
    proof, path = good["proof"], grown["proof"]
    inclusions: dict[str, Case] = {
        "proof of another leaf": {"leaf_hash": other},
        "proof for another index": {"index": 2},
        "index beyond the tree": {"index": 7},
        "index below zero": {"index": -1},
        "index with its bits beyond the tree": {"index": 3 + 8},
        "size of a smaller tree": {"size": 4},
        "one hash missing": {"proof": proof[:-1]},
        "one hash too many": {"proof": [*proof, other]},
        "no hash at all": {"proof": []},
        "two hashes exchanged": {"proof": [proof[1], proof[0], *proof[2:]]},
        "hash of 31 bytes": {"proof": [proof[0][:-2], *proof[1:]]},
        "hash of no bytes": {"proof": ["", *proof]},
        # The sibling stands before the leaf here, so their bytes in a row stay the same.
        "byte moved from the leaf to its sibling": {
            "leaf_hash": good["leaf_hash"][2:],
            "proof": [proof[0] + good["leaf_hash"][:2], *proof[1:]],
        },
        "leaf hash of 33 bytes": {"leaf_hash": good["leaf_hash"] + "00"},
        "inner node given as a leaf": {
            "index": 1,
            "size": 2,
            "leaf_hash": tree.root(hashes[2:4]).hex(),
            "proof": [tree.root(hashes[:2]).hex()],
            "root": PUBLISHED_ROOTS[3],
        },
    }
    consistencies: dict[str, Case] = {
        "growth from an empty tree": {
            "from_size": 0,
            "from_root": PUBLISHED_ROOTS[0],
            "proof": [],
        },
        "growth backwards": {"from_size": 7, "to_size": 3},
        "roots exchanged": {"from_root": grown["to_root"], "to_root": grown["from_root"]},
        "another old root": {"from_root": other},
        "another new root": {"to_root": other},
        "another root at the same size": {"from_size": 7, "proof": []},
        "proof for equal sizes": {"from_size": 7, "from_root": grown["to_root"]},
        "growth proven by nothing": {"proof": []},
        "growth with one hash missing": {"proof": path[:-1]},
        "growth with one hash too many": {"proof": [*path, other]},
        "growth from another size": {"from_size": 2, "from_root": PUBLISHED_ROOTS[2]},
    }
    return [
        refuse(name, "check_inclusion", {**good, **change}, "bad-proof")
        for name, change in inclusions.items()
    ] + [
        refuse(name, "check_consistency", {**grown, **change}, "bad-proof")
        for name, change in consistencies.items()
    ]


def _tiles() -> list[Case]:
    good = {
        "000": (0, 256),
        "273.p/112": (273, 112),
        "999": (999, 256),
        "x001/000": (1000, 256),
        "x001/x234/067": (1_234_067, 256),
        "x001/x234/067.p/1": (1_234_067, 1),
        "x001/x234/067.p/255": (1_234_067, 255),
    }
    bad = [
        "", "0", "00", "0000", "x000/001", "x000/x001/000", "001/002", "x001", "x001/x002",
        "x1/002", "X001/002", "x001//002", "/001", "001/", "001.p/0", "001.p/256", "001.p/01",
        "001.p/1000", "001.p/", "001.p", "001.p/-1", "001.p/+1", "001.p/1/", " 001",
        "001\n", "٠٠١", "../001",
        "x009/x223/x372/x036/x854/x775/808",
    ]  # fmt: skip
    return [
        accept(f"tile {path}", "parse_tile_index", {"path": path}, list(parsed))
        for path, parsed in good.items()
    ] + [refuse(f"no tile {path!r}", "parse_tile_index", {"path": path}) for path in bad]


def _widths() -> list[Case]:
    sizes = {
        0: {(0, 0): 0},
        1: {(0, 0): 1, (1, 0): 0},
        255: {(0, 0): 255, (1, 0): 0},
        256: {(0, 0): 256, (0, 1): 0, (1, 0): 1, (2, 0): 0},
        257: {(0, 0): 256, (0, 1): 1, (1, 0): 1},
        65_536: {(0, 255): 256, (0, 256): 0, (1, 0): 256, (1, 1): 0, (2, 0): 1},
        70_000: {
            (0, 272): 256, (0, 273): 112, (0, 274): 0,
            (1, 0): 256, (1, 1): 17, (1, 2): 0,
            (2, 0): 1, (3, 0): 0,
        },
    }  # fmt: skip
    return [
        accept(
            f"tile {index} of level {level} at size {size}",
            "tile_width",
            {"level": level, "index": index, "size": size},
            width,
        )
        for size, widths in sizes.items()
        for (level, index), width in widths.items()
    ]


def cases() -> list[Case]:
    bundle = "0003" + "616263" + "0000" + "0001" + "ff"
    return [
        *_roots(),
        *_proofs(),
        *_bad_proofs(),
        *_tiles(),
        *_widths(),
        accept(
            "bundle of three", "parse_bundle", {"bundle": {"hex": bundle}}, ["616263", "", "ff"]
        ),
        accept("empty bundle", "parse_bundle", {"bundle": {"hex": ""}}, []),
        refuse("bundle cut in an entry", "parse_bundle", {"bundle": {"hex": bundle[:-2]}}),
        refuse("bundle cut in a length", "parse_bundle", {"bundle": {"hex": bundle + "00"}}),
    ]
