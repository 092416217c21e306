"""The signer's own memory, outside the database: what was signed last, for each origin.

Written durably before a checkpoint leaves the process. A database that is behind it, or
has another root at its size, is a restored backup or a fork: nothing is signed then.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    Column,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    select,
    update,
)
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite
from sqlalchemy.types import BigInteger

from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.prepared import Prepared

_metadata = MetaData()
_signed = Table(
    "signed",
    _metadata,
    Column("origin", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
)

_FIND = Prepared(select(_signed.c.size, _signed.c.root).where(_signed.c.origin == bindparam("of")))
_ADD = {
    "sqlite": lite.insert(_signed).on_conflict_do_nothing().returning(_signed.c.size),
    "postgresql": pg.insert(_signed).on_conflict_do_nothing().returning(_signed.c.size),
}
_MOVE = Prepared(
    update(_signed)
    .where(
        _signed.c.origin == bindparam("of"),
        _signed.c.size == bindparam("known_size"),
        _signed.c.root == bindparam("known_root"),
    )
    .values(size=bindparam("new_size"), root=bindparam("new_root"))
)


@dataclass(frozen=True)
class Signed:
    """Size and root of the newest checkpoint signed for an origin."""

    size: int
    root: bytes


class SignerMemory:
    """A table of its own in a file or database of its own, shared by the service's processes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.dialect.write_lock():
            _metadata.create_all(database.engine)

    def recall(self, origin: str) -> Signed | None:
        """Return what was signed last for ``origin``."""
        with self._database.read() as tx:
            return self._find(tx, origin)

    @staticmethod
    def _find(tx: Transaction, origin: str) -> Signed | None:
        row = _FIND.row(tx, of=origin)
        return Signed(*row) if row else None

    def recall_all(self) -> dict[str, Signed]:
        with self._database.read() as tx:
            return {row[0]: Signed(row[1], row[2]) for row in tx.execute(select(_signed))}

    def advance(self, origin: str, known: Signed | None, new: Signed) -> bool:
        """Note ``new`` durably if ``known`` is still what was signed last; say whether it was.

        Nobody overwrites what they have not seen: it might be of another history.
        """
        values = {"of": origin, "new_size": new.size, "new_root": new.root}
        with self._database.write() as tx:
            if known is None:
                values = {"origin": origin, "size": new.size, "root": new.root}
                return tx.execute(_ADD[self._database.dialect.name], values).first() is not None
            known_values = {"known_size": known.size, "known_root": known.root}
            return _MOVE.run(tx, **values, **known_values) == 1
