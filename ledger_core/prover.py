"""Proofs, receipts, tiles and bundles of one ledger, from what is stored.

Tiles read last are kept in memory: a hash in its place never changes, a partial tile only gets
wider. That one is read from the level below. What is proved is recomputed from hashes, never
taken from a status column.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from ledger_core.errors import IntegrityError, NotFoundError
from ledger_core.formats.entry import format_header, parse_entry
from ledger_core.formats.receipt import Receipt, format_receipt
from ledger_core.merkle import tiles, tree
from ledger_core.merkle.tiles import TILE_WIDTH, TileId, TileNodes
from ledger_core.merkle.tree import NodeId
from ledger_core.signing import CheckpointSigner, KeyHistory
from ledger_core.storage import store, trees
from ledger_core.storage.database import Transaction
from ledger_core.storage.store import Head

_CACHED_TILES = 256


@dataclass(frozen=True)
class InclusionProof:
    """Proves ``leaf_hash`` at ``index`` in the tree of ``size`` under ``root``."""

    index: int
    size: int
    leaf_hash: bytes
    root: bytes
    hashes: tuple[bytes, ...]


@dataclass(frozen=True)
class ConsistencyProof:
    """Proves that the tree of ``to_size`` continues the one of ``from_size``."""

    from_size: int
    to_size: int
    from_root: bytes
    to_root: bytes
    hashes: tuple[bytes, ...]


class Prover:
    """Reads one ledger's tree. Safe to use from several threads."""

    def __init__(self, ledger_id: int, signer: CheckpointSigner) -> None:
        self._ledger_id = ledger_id
        self._signer = signer
        self._tiles = _Tiles()

    def log_keys(self, size: int) -> KeyHistory:
        """Return the keys that the log has had up to a size, each with its entry's index."""
        return self._signer.keys.history(size)

    def origins(self, size: int) -> tuple[tuple[int, str], ...]:
        """Return the origins that the log has had up to a size, each with its first entry's index.

        A key is named like the origin it signs for.
        """
        named: list[tuple[int, str]] = []
        for index, vkey in self.log_keys(size):
            origin = vkey.partition("+")[0]
            if not named or named[-1][1] != origin:
                named.append((index, origin))
        return tuple(named)

    def checkpoint(self, tx: Transaction, head: Head) -> bytes:
        """Return the signed checkpoint at ``head``, if the tree has the root the head says."""
        if tree.root_at(head.size, self._reader(tx, head.size)) != head.root:
            raise IntegrityError(f"the tree at size {head.size} has another root than its head")
        return self._signer.sign(head.size, head.root)

    def receipt(self, tx: Transaction, index: int, size: int) -> bytes:
        """Return the receipt of ``index`` at a checkpoint of ``size``; the same bytes for ever."""
        root = trees.find_checkpoint(tx, self._ledger_id, size)
        if root is None or not 0 <= index < size:
            raise NotFoundError(f"no checkpoint of size {size} that covers entry {index}")
        leaves = store.read_leaves(tx, self._ledger_id, index, index + 1)
        if not leaves:
            raise IntegrityError(f"entry {index} is gone", index=index)
        leaf = leaves[0]
        path = tuple(tree.prove_inclusion(index, size, self._reader(tx, size)))
        if tree.root_from_inclusion(index, size, tree.leaf_hash(leaf), path) != root:
            raise IntegrityError(f"entry {index} is not what the tree says", index=index)
        header = format_header(parse_entry(leaf).header)
        return format_receipt(Receipt(index, path, self._signer.sign(size, root), header))

    def prove_inclusion(self, tx: Transaction, index: int, size: int) -> InclusionProof:
        """Prove an entry in the tree of any size up to the head's."""
        self._check_size(tx, size)
        read = self._reader(tx, size)
        path = tuple(tree.prove_inclusion(index, size, read))
        leaf = read([NodeId(0, index)])[0]
        root = tree.root_from_inclusion(index, size, leaf, path)
        return InclusionProof(index, size, leaf, root, path)

    def prove_consistency(self, tx: Transaction, from_size: int, to_size: int) -> ConsistencyProof:
        """Prove that one size of the tree continues another."""
        self._check_size(tx, to_size)
        read = self._reader(tx, to_size)
        path = tuple(tree.prove_consistency(from_size, to_size, read))
        from_root, to_root = tree.root_at(from_size, read), tree.root_at(to_size, read)
        return ConsistencyProof(from_size, to_size, from_root, to_root, path)

    def nodes(self, tx: Transaction, size: int, wanted: Sequence[NodeId]) -> list[bytes]:
        """Return the hashes of perfect subtrees of the tree of ``size``."""
        return self._reader(tx, size)(wanted)

    def tile(self, tx: Transaction, wanted: TileId) -> bytes:
        """Return the first ``width`` hashes of a tile, if the log has grown that far."""
        size = store.read_head(tx, self._ledger_id).size
        if tiles.tile_width(wanted.level, wanted.position, size) < wanted.width:
            raise NotFoundError("the log has not grown that far")
        found = self._reader(tx, size).tile(wanted.level, wanted.position)
        return found.format(wanted.width)

    def bundle(self, tx: Transaction, position: int, width: int) -> bytes:
        """Return the first ``width`` entries of an entry bundle."""
        size = store.read_head(tx, self._ledger_id).size
        if tiles.tile_width(0, position, size) < width:
            raise NotFoundError("the log has not grown that far")
        start = position * TILE_WIDTH
        return tiles.format_bundle(store.read_leaves(tx, self._ledger_id, start, start + width))

    def _check_size(self, tx: Transaction, size: int) -> None:
        head = store.read_head(tx, self._ledger_id)
        if size > head.size:
            raise NotFoundError(f"the ledger has {head.size} entries, not {size}")

    def _reader(self, tx: Transaction, size: int) -> _TileReader:
        return _TileReader(tx, self._ledger_id, size, self._tiles)


class _Tiles:
    """The tiles read last, each as wide as it was then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tiles: OrderedDict[tuple[int, int], TileNodes] = OrderedDict()

    def get(self, key: tuple[int, int], width: int) -> TileNodes | None:
        """Return a tile if it is known to at least this width."""
        with self._lock:
            found = self._tiles.get(key)
            if found is None or found.width < width:
                return None
            self._tiles.move_to_end(key)
            return found

    def put(self, key: tuple[int, int], tile: TileNodes) -> None:
        with self._lock:
            self._tiles[key] = tile
            if len(self._tiles) > _CACHED_TILES:
                self._tiles.popitem(last=False)


class _TileReader:
    """Reads nodes of the tree of one size, from memory where it can."""

    def __init__(self, tx: Transaction, ledger_id: int, size: int, known: _Tiles) -> None:
        self._tx = tx
        self._ledger_id = ledger_id
        self._size = size
        self._known = known

    def __call__(self, wanted: Sequence[NodeId]) -> list[bytes]:
        return [self.tile(*tiles.tile_of(node)).node(node) for node in wanted]

    def tile(self, level: int, position: int) -> TileNodes:
        """Return a tile at least as wide as it is at this size."""
        width = tiles.tile_width(level, position, self._size)
        found = self._known.get((level, position), width)
        if found is None:
            found = self._read(level, position, width)
            self._known.put((level, position), found)
        return found

    def _read(self, level: int, position: int, width: int) -> TileNodes:
        if width == TILE_WIDTH:
            stored = trees.read_full_tile(self._tx, self._ledger_id, level, position)
            row = tiles.split_hashes(stored)
        else:
            start = position * TILE_WIDTH
            row = trees.read_tile_row(self._tx, self._ledger_id, level, start, start + width)
        if len(row) != width:
            raise IntegrityError(
                f"tile {level}/{position} has {len(row)} hashes, not {width}",
                index=(position * TILE_WIDTH + len(row)) << (tiles.TILE_LEVELS * level),
            )
        return TileNodes(row)
