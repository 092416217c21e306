"""The signer's own memory, outside the database: what was signed last, for each origin.

Written durably before a checkpoint leaves the process. A database that is behind it, or
has another root at its size, is a restored backup or a fork: nothing is signed then.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Executable,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    select,
)
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite
from sqlalchemy.types import BigInteger

from ledger_core.errors import ForkError
from ledger_core.storage.database import Database

_metadata = MetaData()
_signed = Table(
    "signed",
    _metadata,
    Column("origin", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
)

_FIND = select(_signed.c.size, _signed.c.root).where(_signed.c.origin == bindparam("of"))


@dataclass(frozen=True)
class Signed:
    """Size and root of the newest checkpoint signed for an origin."""

    size: int
    root: bytes


class SignerMemory:
    """A table of its own in a file or database of its own, shared by the service's processes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._upsert = _upsert(database.engine)
        with database.dialect.write_lock():
            _metadata.create_all(database.engine)

    def recall(self, origin: str) -> Signed | None:
        """Return what was signed last for ``origin``."""
        with self._database.read() as tx:
            return self._find(tx, origin)

    @staticmethod
    def _find(tx: Connection, origin: str) -> Signed | None:
        row = tx.execute(_FIND, {"of": origin}).one_or_none()
        return Signed(*row) if row else None

    def recall_all(self) -> dict[str, Signed]:
        with self._database.read() as tx:
            return {row[0]: Signed(row[1], row[2]) for row in tx.execute(select(_signed))}

    def remember(self, origin: str, size: int, root: bytes) -> Signed:
        """Note a checkpoint about to be signed; return the newest one known afterwards.

        Another process may have signed a larger one meanwhile: the caller checks that the
        database holds it. Raises :class:`ForkError` for another root at the same size.
        """
        with self._database.write() as tx:
            changed = tx.execute(self._upsert, {"origin": origin, "size": size, "root": root})
            known = Signed(size, root) if changed.rowcount == 1 else self._find(tx, origin)
        if known is None or (known.size == size and known.root != root):
            raise ForkError(f"size {size} of {origin} was signed with another root")
        return known


def _upsert(engine: Engine) -> Executable:
    """Make the statement that notes a checkpoint unless a larger one is known."""
    maker = pg.insert if engine.dialect.name == "postgresql" else lite.insert
    statement = maker(_signed)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["origin"],
        set_={"size": new.size, "root": new.root},
        where=_signed.c.size < new.size,
    )
