"""A ledger's tree as it is stored: its tiles and its checkpoints.

Every function works inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Integer, bindparam, func, insert, select

from ledger_core.errors import NotFoundError
from ledger_core.merkle.tiles import TILE_LEVELS, TILE_WIDTH, FullTile, TileEdge
from ledger_core.storage import store
from ledger_core.storage import tables as t
from ledger_core.storage.database import Dialect, Transaction
from ledger_core.storage.prepared import Prepared

_c, _t = t.checkpoints.c, t.tiles.c
_LEDGER = bindparam("ledger", type_=BigInteger)
_START, _END = bindparam("start", type_=BigInteger), bindparam("end", type_=BigInteger)

_FIND_TILE = Prepared(
    select(_t.hashes).where(
        _t.ledger_id == _LEDGER,
        _t.level == bindparam("level", type_=Integer),
        _t.position == bindparam("position", type_=BigInteger),
    )
)
_READ_TILE_ROOTS = Prepared(
    select(_t.root)
    .where(_t.ledger_id == _LEDGER, _t.level == bindparam("level", type_=Integer))
    .where(_t.position >= _START, _t.position < _END)
    .order_by(_t.position)
)
_ADD_CHECKPOINT = Prepared(insert(t.checkpoints))
_FIND_CHECKPOINT = Prepared(
    select(_c.root).where(_c.ledger_id == _LEDGER, _c.size == bindparam("at", type_=BigInteger))
)
_FIND_COVERING = Prepared(
    select(func.min(_c.size)).where(
        _c.ledger_id == _LEDGER, _c.size > bindparam("index", type_=BigInteger)
    )
)


# --- tiles -----------------------------------------------------------------------


def add_tiles(tx: Transaction, dialect: Dialect, ledger_id: int, full: Sequence[FullTile]) -> None:
    if full:
        dialect.insert_many(tx, t.tiles, [(ledger_id, *tile) for tile in full])


def read_full_tile(tx: Transaction, ledger_id: int, level: int, position: int) -> bytes:
    """Return the hashes of a full tile; nothing if it is not there."""
    row = _FIND_TILE.row(tx, ledger=ledger_id, level=level, position=position)
    return row[0] if row else b""


def read_tile_roots(
    tx: Transaction, ledger_id: int, level: int, start: int, end: int
) -> list[bytes]:
    """Return the roots of full tiles ``[start, end)`` of a level: the hashes one level up."""
    rows = _READ_TILE_ROOTS.rows(tx, ledger=ledger_id, level=level, start=start, end=end)
    return [row[0] for row in rows]


def read_tile_row(tx: Transaction, ledger_id: int, level: int, start: int, end: int) -> list[bytes]:
    """Return hashes ``[start, end)`` of a tile level from below, for tiles not yet full."""
    if level == 0:
        return store.read_leaf_hashes(tx, ledger_id, start, end)
    return read_tile_roots(tx, ledger_id, level - 1, start, end)


def read_tile_edge(tx: Transaction, ledger_id: int, size: int) -> TileEdge:
    """Read the right edge of the tiles at ``size``."""
    rows: list[list[bytes]] = []
    level = 0
    while hashes := size >> (TILE_LEVELS * level):
        start = hashes - hashes % TILE_WIDTH
        rows.append(read_tile_row(tx, ledger_id, level, start, hashes))
        level += 1
    return TileEdge(size, rows)


# --- checkpoints -----------------------------------------------------------------


def add_checkpoint(tx: Transaction, ledger_id: int, size: int, root: bytes) -> None:
    _ADD_CHECKPOINT.run(tx, ledger_id=ledger_id, size=size, root=root)


def find_checkpoint(tx: Transaction, ledger_id: int, size: int) -> bytes | None:
    """Return the root of the checkpoint at exactly ``size``."""
    row = _FIND_CHECKPOINT.row(tx, ledger=ledger_id, at=size)
    return row[0] if row else None


def find_covering_size(tx: Transaction, ledger_id: int, index: int) -> int:
    """Return the size of the first checkpoint that covers ``index``."""
    row = _FIND_COVERING.row(tx, ledger=ledger_id, index=index)
    if row is None or row[0] is None:
        raise NotFoundError(f"no entry {index}")
    return int(row[0])
