"""Proofs, receipts, tiles and bundles of one ledger, from what is stored.

Full tiles never change, so they are kept in a cache; a partial tile is read from the level
below. What is proved is recomputed from hashes, never taken from a status column.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from ledger_core.errors import IntegrityError, NotFoundError, ProofError
from ledger_core.formats.entry import format_header, parse_entry
from ledger_core.formats.receipt import Receipt, format_receipt
from ledger_core.merkle import tiles, tree
from ledger_core.merkle.tiles import TILE_WIDTH, TileId
from ledger_core.merkle.tree import HASH_BYTES, NodeId
from ledger_core.signing import CheckpointSigner
from ledger_core.storage import store
from ledger_core.storage.database import Transaction

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
        self._cache: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._cache_lock = threading.Lock()

    def receipt(self, tx: Transaction, index: int, size: int) -> bytes:
        """Return the receipt of ``index`` at a checkpoint of ``size``; the same bytes for ever."""
        root = store.find_checkpoint(tx, self._ledger_id, size)
        if root is None or index >= size:
            raise NotFoundError(f"no checkpoint of size {size} that covers entry {index}")
        leaf = store.read_leaves(tx, self._ledger_id, index, index + 1)[0]
        proof = self.prove_inclusion(tx, index, size)
        if proof.root != root or proof.leaf_hash != tree.leaf_hash(leaf):
            raise IntegrityError(f"entry {index} is not what the tree says", index=index)
        header = format_header(parse_entry(leaf).header)
        note = self._signer.sign(size, root)
        return format_receipt(Receipt(index, proof.hashes, note, header))

    def prove_inclusion(self, tx: Transaction, index: int, size: int) -> InclusionProof:
        """Prove an entry in the tree of any size up to the head's."""
        self._check_size(tx, size)
        path = tree.prove_inclusion(index, size, lambda nodes: self.nodes(tx, nodes))
        leaf = self.nodes(tx, [NodeId(0, index)])[0]
        root = tree.root_at(size, lambda nodes: self.nodes(tx, nodes))
        try:
            tree.check_inclusion(index, size, leaf, path, root)
        except ProofError as error:
            raise IntegrityError(
                f"stored tree does not prove entry {index}", index=index
            ) from error
        return InclusionProof(index, size, leaf, root, tuple(path))

    def prove_consistency(self, tx: Transaction, from_size: int, to_size: int) -> ConsistencyProof:
        """Prove that one size of the tree continues another."""
        self._check_size(tx, to_size)
        path = tree.prove_consistency(from_size, to_size, lambda nodes: self.nodes(tx, nodes))
        from_root = tree.root_at(from_size, lambda nodes: self.nodes(tx, nodes))
        to_root = tree.root_at(to_size, lambda nodes: self.nodes(tx, nodes))
        return ConsistencyProof(from_size, to_size, from_root, to_root, tuple(path))

    def _check_size(self, tx: Transaction, size: int) -> None:
        head = store.read_head(tx, self._ledger_id)
        if size > head.size:
            raise NotFoundError(f"the ledger has {head.size} entries, not {size}")

    # --- tiles -------------------------------------------------------------------

    def tile(self, tx: Transaction, wanted: TileId) -> bytes:
        """Return the first ``width`` hashes of a tile, if the log has grown that far."""
        head = store.read_head(tx, self._ledger_id)
        if tiles.tile_width(wanted.level, wanted.position, head.size) < wanted.width:
            raise NotFoundError("the log has not grown that far")
        return self._read_tile(tx, wanted)

    def bundle(self, tx: Transaction, position: int, width: int) -> bytes:
        """Return the first ``width`` entries of an entry bundle."""
        head = store.read_head(tx, self._ledger_id)
        if tiles.tile_width(0, position, head.size) < width:
            raise NotFoundError("the log has not grown that far")
        start = position * TILE_WIDTH
        return tiles.format_bundle(store.read_leaves(tx, self._ledger_id, start, start + width))

    def nodes(self, tx: Transaction, wanted: Sequence[NodeId]) -> list[bytes]:
        """Return the hashes of perfect subtrees, reading each tile they need once."""
        places = [tiles.tile_of(node) for node in wanted]
        widths: dict[tuple[int, int], int] = {}
        for tile, _ in places:
            key = (tile.level, tile.position)
            widths[key] = max(widths.get(key, 0), tile.width)
        self._load_full(tx, list(widths))
        read = {key: self._read_tile(tx, TileId(*key, width)) for key, width in widths.items()}
        return [tiles.node_in_tile(read[tile.level, tile.position], part) for tile, part in places]

    def _load_full(self, tx: Transaction, keys: Sequence[tuple[int, int]]) -> None:
        """Read the full tiles among ``keys`` that are not cached, all in one query."""
        with self._cache_lock:
            missing = [key for key in keys if key not in self._cache]
        found = store.read_full_tiles(tx, self._ledger_id, missing) if missing else {}
        with self._cache_lock:
            self._cache.update(found)
            while len(self._cache) > _CACHED_TILES:
                self._cache.popitem(last=False)

    def _read_tile(self, tx: Transaction, wanted: TileId) -> bytes:
        key = (wanted.level, wanted.position)
        with self._cache_lock:
            full = self._cache.get(key)
        if full is None and wanted.width == TILE_WIDTH:
            full = store.read_full_tiles(tx, self._ledger_id, [key]).get(key)
        if full is not None:
            return full[: wanted.width * HASH_BYTES]
        start = wanted.position * TILE_WIDTH
        row = store.read_tile_row(tx, self._ledger_id, wanted.level, start, start + wanted.width)
        if len(row) != wanted.width:
            raise IntegrityError(
                f"tile {wanted.level}/{wanted.position} has {len(row)} hashes, not {wanted.width}",
                index=(start + len(row)) << (tiles.TILE_LEVELS * wanted.level),
            )
        return b"".join(row)
