"""Cosignatures on our checkpoints: verified lines, and at which sizes they reached a quorum.

A witness is named by the SHA-256 that its key id is cut from (``formats/vkey.key_digest``), a
policy by the digest of what decides about its quorum (``formats/trust_policy.quorum_digest``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, LargeBinary, Table, bindparam, func, select, update
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite

from ledger_core.storage import tables as t
from ledger_core.storage.database import Transaction

NO_LEDGER = 0
"""In place of a ledger's id: the error is about the witness itself."""

_CHUNK = 2_000


class Cosignature(NamedTuple):
    """One verified line: of which ledger and size, by whom, when (s), and its bytes."""

    ledger_id: int
    size: int
    witness: bytes
    cosigned_at: int
    line: bytes


class Newest(NamedTuple):
    """The largest size a witness cosigned of a ledger, and when (s)."""

    size: int
    cosigned_at: int


class Trouble(NamedTuple):
    """What a witness said or did in place of cosigning, and since when (ms)."""

    ledger_id: int
    witness: bytes
    error: str
    since: int


_c, _w, _e = t.cosignatures.c, t.witnessed.c, t.witness_errors.c
_LEDGER = bindparam("ledger", type_=BigInteger)
_SIZE = bindparam("at", type_=BigInteger)
_POLICY = bindparam("of", type_=LargeBinary)
_READ_LINES = select(_c.line).where(_c.ledger_id == _LEDGER, _c.size == _SIZE).order_by(_c.witness)
_READ_WITNESSES = select(_c.witness).where(_c.ledger_id == _LEDGER, _c.size == _SIZE)
_OF_POLICY = (_w.ledger_id == _LEDGER) & (_w.policy == _POLICY)
_FIND_WITNESSED = select(func.min(_w.size)).where(_OF_POLICY, _w.size >= _SIZE)
_NEWEST_WITNESSED = select(func.max(_w.size)).where(_OF_POLICY)
_READ_FROM = (
    select(_c.size, _c.witness)
    .where(_c.ledger_id == _LEDGER, _c.size > _SIZE)
    .order_by(_c.size, _c.witness)
    .limit(_CHUNK)
)


def add(tx: Transaction, cosignatures: Sequence[Cosignature]) -> None:
    """Store lines; of one witness and size the first stays."""
    if cosignatures:
        rows = [each._asdict() for each in cosignatures]
        tx.execute(_insert(tx, t.cosignatures).on_conflict_do_nothing(), rows)


def read_lines(tx: Transaction, ledger_id: int, size: int) -> bytes:
    """Return the lines on the checkpoint of exactly ``size``, as they stand in a note."""
    return b"".join(tx.execute(_READ_LINES, {"ledger": ledger_id, "at": size}).scalars())


def read_witnesses(tx: Transaction, ledger_id: int, size: int) -> set[bytes]:
    """Return who cosigned the checkpoint of exactly ``size``."""
    return set(tx.execute(_READ_WITNESSES, {"ledger": ledger_id, "at": size}).scalars())


def read_newest(tx: Transaction, ledger_id: int, witness: bytes) -> Newest | None:
    """Return the newest checkpoint that one witness cosigned."""
    this = (_c.ledger_id == ledger_id) & (_c.witness == witness)
    query = select(_c.size, _c.cosigned_at).where(this).order_by(_c.size.desc()).limit(1)
    row = tx.execute(query).one_or_none()
    return Newest(*row) if row else None


def read_progress(tx: Transaction) -> dict[tuple[int, bytes], int]:
    """Return the largest size that each witness cosigned of each ledger."""
    query = select(_c.ledger_id, _c.witness, func.max(_c.size))
    rows = tx.execute(query.group_by(_c.ledger_id, _c.witness))
    return {(row[0], row[1]): row[2] for row in rows}


def add_witnessed(tx: Transaction, ledger_id: int, policy: bytes, size: int) -> None:
    """Note that a size reached a policy's quorum."""
    values = {"ledger_id": ledger_id, "policy": policy, "size": size}
    tx.execute(_insert(tx, t.witnessed).values(values).on_conflict_do_nothing())


def find_witnessed(tx: Transaction, ledger_id: int, policy: bytes, at_least: int) -> int | None:
    """Return the smallest witnessed size that is not below ``at_least``."""
    values = {"ledger": ledger_id, "of": policy, "at": at_least}
    found: int | None = tx.execute(_FIND_WITNESSED, values).scalar_one()
    return found


def newest_witnessed(tx: Transaction, ledger_id: int, policy: bytes) -> int | None:
    values = {"ledger": ledger_id, "of": policy}
    found: int | None = tx.execute(_NEWEST_WITNESSED, values).scalar_one()
    return found


def read_sizes(
    tx: Transaction, ledger_id: int, after: int
) -> Iterator[tuple[int, frozenset[bytes]]]:
    """Yield the cosigned sizes behind ``after``, each with its witnesses, in order."""
    while rows := tx.execute(_READ_FROM, {"ledger": ledger_id, "at": after}).all():
        sizes = sorted({row.size for row in rows})
        if len(rows) == _CHUNK and len(sizes) > 1:
            sizes.pop()  # Some of its witnesses may stand in the next chunk.
        for size in sizes:
            yield size, frozenset(row.witness for row in rows if row.size == size)
        after = sizes[-1]


def list_cosigned(tx: Transaction) -> list[int]:
    """Return the ledgers that have cosignatures."""
    return list(tx.execute(select(_c.ledger_id).distinct()).scalars())


# --- errors ------------------------------------------------------------------------


def read_errors(tx: Transaction, ledger_id: int | None = None) -> list[Trouble]:
    """Return what keeps witnesses from cosigning: all of it, or what concerns one ledger."""
    query = select(t.witness_errors).where(_e.error != "")
    if ledger_id is not None:
        query = query.where(_e.ledger_id.in_([NO_LEDGER, ledger_id]))
    return [Trouble(*row) for row in tx.execute(query.order_by(_e.ledger_id, _e.witness))]


def put_error(tx: Transaction, trouble: Trouble) -> None:
    """Note an error; an empty one says that it is over."""
    values = trouble._asdict()
    this = (_e.ledger_id == trouble.ledger_id) & (_e.witness == trouble.witness)
    new = {"error": trouble.error, "since": trouble.since}
    if tx.execute(update(t.witness_errors).where(this).values(new)).rowcount == 0:
        tx.execute(_insert(tx, t.witness_errors).values(values).on_conflict_do_nothing())


def _insert(tx: Transaction, table: Table) -> lite.Insert:
    # Both dialects' inserts say ON CONFLICT the same way; the type checker knows no common base.
    made: lite.Insert = lite.insert(table) if tx.dialect.name == "sqlite" else pg.insert(table)  # type: ignore[assignment]
    return made
