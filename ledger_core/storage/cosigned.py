"""What this service, as a witness, cosigned for other logs, and what it caught them at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, Table, Text, bindparam, select, update
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite

from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.merkle.tree import EMPTY_ROOT
from ledger_core.storage import tables as t
from ledger_core.storage.database import Transaction


@dataclass(frozen=True)
class Cosigned:
    """The newest checkpoint cosigned for an origin; ``note`` has its log's signatures only.

    Nothing was cosigned yet if ``note`` is empty: size 0, and the root of no leaves.
    """

    origin: str
    size: int
    root: bytes
    note: bytes


@dataclass(frozen=True)
class Equivocation:
    """Two checkpoints of one size with two roots, each signed by the log."""

    origin: str
    size: int
    found_at: int
    first: bytes
    second: bytes


_ORIGIN = bindparam("of", type_=Text)
_READ = select(t.cosigned).where(t.cosigned.c.origin == _ORIGIN)
_LOCK = _READ.with_for_update()


def find(tx: Transaction, origin: str) -> Cosigned | None:
    """Return what was cosigned last, if anything ever was."""
    row = tx.execute(_READ, {"of": origin}).one_or_none()
    return Cosigned(*row) if row and row.note else None


def lock(tx: Transaction, origin: str) -> Cosigned:
    """Read what was cosigned last, and keep everyone else from changing it until the commit."""
    row = tx.execute(_LOCK, {"of": origin}).one_or_none()
    if row is None:
        # A row to lock, before there is anything to say in it.
        first = {"origin": origin, "size": 0, "root": EMPTY_ROOT, "note": b""}
        tx.execute(_insert_if_absent(tx, t.cosigned, first))
        row = tx.execute(_LOCK, {"of": origin}).one()
    return Cosigned(*row)


def advance(tx: Transaction, checkpoint: Checkpoint, note: bytes) -> None:
    """Note a newer checkpoint of an origin that is locked."""
    this = t.cosigned.c.origin == checkpoint.origin
    new = {"size": checkpoint.size, "root": checkpoint.root, "note": note}
    tx.execute(update(t.cosigned).where(this).values(new))


def add_equivocation(tx: Transaction, found: Equivocation) -> None:
    """Keep the evidence; the first of a size is enough."""
    tx.execute(_insert_if_absent(tx, t.equivocations, vars(found)))


def list_equivocations(tx: Transaction, limit: int) -> list[Equivocation]:
    e = t.equivocations
    query = select(e).order_by(e.c.found_at.desc(), e.c.origin, e.c.size).limit(limit)
    return [Equivocation(*row) for row in tx.execute(query)]


def _insert_if_absent(tx: Transaction, table: Table, values: dict[str, Any]) -> Executable:
    if tx.dialect.name == "sqlite":
        return lite.insert(table).values(values).on_conflict_do_nothing()
    return pg.insert(table).values(values).on_conflict_do_nothing()
