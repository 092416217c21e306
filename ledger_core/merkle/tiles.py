"""C2SP tlog-tiles: where the hashes and entries of a log lie, and their bytes.

::

    tile/<level>/<N>[.p/<W>]      W (or 256) hashes of 32 bytes each
    tile/entries/<N>[.p/<W>]      W (or 256) entries, each: uint16 length, bytes

``N`` is written in groups of three digits, all but the last with a leading ``x``:
1234067 is ``x001/x234/067``. Hash ``i`` of tile ``N`` at level ``L`` is the root of the
perfect subtree ``NodeId(8 * L, 256 * N + i)``. A log stores full tiles only: a partial
tile is the beginning of what will be the full one.

Source: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ledger_core import limits
from ledger_core.errors import MalformedError
from ledger_core.merkle.tree import HASH_BYTES, Frontier, NodeId, node_hash, root

TILE_LEVELS = 8
"""Levels of the tree in one level of tiles."""

TILE_WIDTH = 256


class TileId(NamedTuple):
    """The ``position``-th tile of ``level``, its first ``width`` hashes."""

    level: int
    position: int
    width: int = TILE_WIDTH


_PATH_INDEX = re.compile(r"(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?")
_LEVEL = re.compile(r"0|[1-9][0-9]?")


def format_tile_index(index: int) -> str:
    """Format a tile's index as path segments: ``x001/x234/067``."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def format_tile_path(level: str, index: int, width: int = TILE_WIDTH) -> str:
    """Format ``<level>/<N>[.p/<W>]``; level is a number or ``entries``."""
    partial = f".p/{width}" if width < TILE_WIDTH else ""
    return f"{level}/{format_tile_index(index)}{partial}"


def parse_tile_index(path: str) -> tuple[int, int]:
    """Parse ``<N>[.p/<W>]`` into index and width, accepting one spelling only."""
    found = _PATH_INDEX.fullmatch(path) if len(path) <= 64 else None
    if found is None:
        raise MalformedError(f"tile path {path[:80]!r} is not like x001/234 or x001/234.p/5")
    index = int(found["index"].replace("x", "").replace("/", ""))
    width = int(found["width"] or TILE_WIDTH)
    if format_tile_index(index) != found["index"] or (found["width"] and width >= TILE_WIDTH):
        raise MalformedError(f"tile path {path[:80]!r} is not in its shortest form")
    if index >= 2**63:
        raise MalformedError(f"tile path {path[:80]!r} is beyond any tree")
    return index, width


def parse_tile_level(text: str) -> int:
    """Parse a tile level, 0 to 63."""
    if not _LEVEL.fullmatch(text) or int(text) > 63:
        raise MalformedError(f"tile level {text[:20]!r} is not a number from 0 to 63")
    return int(text)


def tile_width(level: int, index: int, size: int) -> int:
    """Return how many hashes tile ``index`` of ``level`` has in a tree of ``size``: 0 to 256."""
    if index < 0:
        return 0
    hashes = size >> (TILE_LEVELS * level)
    return max(0, min(TILE_WIDTH, hashes - index * TILE_WIDTH))


def tile_of(node: NodeId) -> tuple[int, int]:
    """Return level and position of the tile that a perfect subtree is computed from."""
    level, inside = divmod(node.level, TILE_LEVELS)
    return level, (node.position << inside) // TILE_WIDTH


def split_hashes(tile: bytes) -> list[bytes]:
    """Split a tile's bytes into its hashes."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


class TileNodes:
    """A tile, full or partial, with the perfect subtrees above its hashes, computed once."""

    def __init__(self, hashes: Sequence[bytes]) -> None:
        self._rows = [list(hashes)]
        while len(row := self._rows[-1]) > 1:
            pairs = range(0, len(row) - 1, 2)
            self._rows.append([node_hash(row[i], row[i + 1]) for i in pairs])

    @property
    def width(self) -> int:
        return len(self._rows[0])

    def node(self, node: NodeId) -> bytes:
        """Return the hash of a perfect subtree that lies in this tile."""
        inside = node.level % TILE_LEVELS
        return self._rows[inside][node.position % (TILE_WIDTH >> inside)]

    def format(self, width: int) -> bytes:
        """Return the bytes of the tile's first ``width`` hashes."""
        return b"".join(self._rows[0][:width])


def format_bundle(entries: Iterable[bytes]) -> bytes:
    """Concatenate entries, each after its uint16 big-endian length."""
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)


def parse_bundle(bundle: bytes) -> Sequence[bytes]:
    """Split an entry bundle (section "Entry bundles") into its entries."""
    entries: list[bytes] = []
    at, end = 0, len(bundle)
    while at < end:
        stop = at + 2 + int.from_bytes(bundle[at : at + 2])
        if stop > end or at + 2 > end:
            raise MalformedError(f"entry bundle ends in the middle of entry {len(entries)}")
        entries.append(bundle[at + 2 : stop])
        at = stop
    return entries


class FullTile(NamedTuple):
    """A tile that will never change, and the root over its 256 hashes."""

    level: int
    position: int
    root: bytes
    hashes: bytes


class TileEdge:
    """The right edge of the tiles: per level, the hashes of the tile that is not full yet.

    Owned by one sequencer; ``extended`` leaves it as it was and returns a new one, so that
    a transaction that fails has changed nothing.
    """

    def __init__(self, size: int, rows: Sequence[Sequence[bytes]]) -> None:
        self.size = size
        self.rows = [list(row) for row in rows]

    def frontier(self) -> Frontier:
        """Return the tree's frontier: each row of equal subtrees, cut into perfect ones."""
        frontier = Frontier()
        for level in reversed(range(len(self.rows))):
            frontier = frontier.extend(self.rows[level], TILE_LEVELS * level)
        return frontier

    def extended(self, leaf_hashes: Sequence[bytes]) -> tuple[TileEdge, list[FullTile]]:
        """Return the edge after more leaves, and the tiles that became full."""
        edge = TileEdge(self.size + len(leaf_hashes), self.rows)
        full: list[FullTile] = []
        new, level = list(leaf_hashes), 0
        while new:
            if level == len(edge.rows):
                edge.rows.append([])
            row = edge.rows[level] + new
            first = (self.size >> (TILE_LEVELS * level)) // TILE_WIDTH
            new = []
            while len(row) >= TILE_WIDTH:
                hashes, row = row[:TILE_WIDTH], row[TILE_WIDTH:]
                new.append(root(hashes))
                full.append(FullTile(level, first, new[-1], b"".join(hashes)))
                first += 1
            edge.rows[level] = row
            level += 1
        return edge, full


assert limits.ENTRY_BYTES == 2**16 - 1, "an entry must fit its length prefix"
