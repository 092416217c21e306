"""Tiles: one path each, their widths, and the nodes that lie in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import MalformedError
from ledger_core.merkle import tiles, tree
from ledger_core.merkle.tiles import TILE_WIDTH

LEAVES = [tree.leaf_hash(b"leaf %d" % n) for n in range(4200)]


def published(size: int, level: int) -> list[tuple[int, int]]:
    """Name the tiles of a level, index and width, that a log of this size publishes."""
    found: list[tuple[int, int]] = []
    while width := tiles.tile_width(level, len(found), size):
        found.append((len(found), width))
    return found


def test_seventy_thousand_entries_lie_in_the_tiles_that_c2sp_names() -> None:
    bottom, middle, top = (published(70_000, level) for level in range(3))
    assert bottom == [*((n, 256) for n in range(273)), (273, 112)]
    assert middle == [(0, 256), (1, 17)]
    assert top == [(0, 1)]
    assert published(70_000, 3) == []
    assert tiles.format_tile_path("0", 273, 112) == "0/273.p/112"


def test_a_full_tile_is_followed_by_no_empty_one() -> None:
    assert published(256, 0) == [(0, 256)]
    assert published(256, 1) == [(0, 1)]
    assert published(0, 0) == []


@given(st.integers(0, 2**62), st.integers(0, 7))
def test_a_levels_last_tile_is_as_wide_as_c2sp_says(size: int, level: int) -> None:
    hashes = size // 256**level
    last = max(0, hashes - 1) // TILE_WIDTH
    expected = hashes % 256 or (256 if hashes else 0)
    assert tiles.tile_width(level, last, size) == expected
    assert tiles.tile_width(level, last + 1, size) == 0


def test_an_index_is_written_in_groups_of_three() -> None:
    assert tiles.format_tile_index(0) == "000"
    assert tiles.format_tile_index(1_234_067) == "x001/x234/067"
    assert tiles.format_tile_index(1_000) == "x001/000"


@pytest.mark.parametrize(
    "text", ["00", "01", "64", "-1", "+1", "1 ", "١", "", "entries", "x1", "100"]
)
def test_a_level_that_is_no_number_up_to_63_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        tiles.parse_tile_level(text)


def test_levels_are_numbers_from_0_to_63() -> None:
    assert [tiles.parse_tile_level(str(n)) for n in range(64)] == list(range(64))


def test_an_endless_path_is_refused_before_it_is_read() -> None:
    with pytest.raises(MalformedError):
        tiles.parse_tile_index("x001/" * 10_000 + "001")


@given(st.integers(0, 20), st.integers(0, 2**30))
def test_a_node_lies_inside_one_tile(level: int, position: int) -> None:
    tile_level, index = tiles.tile_of(tree.NodeId(level, position))
    leaves_a_hash = 1 << 8 * tile_level
    first, end = position << level, (position + 1) << level
    assert tile_level == level // 8
    assert index * TILE_WIDTH * leaves_a_hash <= first
    assert end <= (index + 1) * TILE_WIDTH * leaves_a_hash
    assert end - first >= leaves_a_hash


def tile_hashes(level: int, index: int, size: int) -> list[bytes]:
    """Compute a tile from the leaves below it."""
    span, start = 256**level, index * TILE_WIDTH
    width = tiles.tile_width(level, index, size)
    return [tree.root(LEAVES[n * span : (n + 1) * span]) for n in range(start, start + width)]


@given(st.integers(1, len(LEAVES)), st.data())
def test_every_node_of_a_tree_can_be_computed_from_its_tile(size: int, data: st.DataObject) -> None:
    node = data.draw(st.sampled_from(tree.perfect_subtrees(0, size)))
    tile = tiles.TileNodes(tile_hashes(*tiles.tile_of(node), size))
    level, position = node
    assert tile.node(node) == tree.root(LEAVES[position << level : (position + 1) << level])


@given(st.integers(1, 300))
def test_a_partial_tile_is_the_beginning_of_a_wider_one(width: int) -> None:
    wide = tiles.TileNodes(tile_hashes(0, 0, 256))
    narrow = tile_hashes(0, 0, min(width, 256))
    assert wide.width == TILE_WIDTH
    assert wide.format(len(narrow)) == tiles.TileNodes(narrow).format(len(narrow))
    assert tiles.split_hashes(wide.format(len(narrow))) == narrow


@given(st.lists(st.integers(0, 700), max_size=6))
def test_an_edge_grown_by_batches_has_the_frontier_of_all_leaves(batches: list[int]) -> None:
    edge, full = tiles.TileEdge(0, []), list[tiles.FullTile]()
    for batch in batches:
        before = edge.frontier()
        grown, filled = edge.extended(LEAVES[edge.size : edge.size + batch])
        assert edge.frontier() == before, "a batch that fails must have changed nothing"
        edge = grown
        full += filled
    assert edge.frontier() == tree.Frontier().extend(LEAVES[: edge.size])
    expected = [(level, n) for level in (0, 1) for n in range((edge.size >> 8 * level) // 256)]
    assert sorted((tile.level, tile.position) for tile in full) == expected
    for tile in full:
        hashes = tile_hashes(tile.level, tile.position, edge.size)
        assert (tile.hashes, tile.root) == (b"".join(hashes), tree.root(hashes))
    for level, row in enumerate(edge.rows):
        assert row == tile_hashes(level, (edge.size >> 8 * level) // 256, edge.size)


def test_a_bundle_holds_the_longest_entry_and_no_longer_one() -> None:
    longest = bytes(65_535)
    assert tiles.parse_bundle(tiles.format_bundle([longest, b""])) == [longest, b""]
    with pytest.raises(OverflowError):
        tiles.format_bundle([longest + b"\x00"])
