"""Full text of calls, beside the views: which words stand in which call.

On SQLite an FTS5 table without the text itself; the words that went in are kept compressed,
because FTS5 wants to be told what it is to forget. On PostgreSQL a ``tsvector`` of the same words,
with no dictionary of its own. Whoever searches gets the newest matches, the best of them first.

It has a progress of its own, behind that of the other views.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    and_,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from ledger_core.storage.call_tables import CallTables, MakeTable
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.prepared import change_many, in_parts
from ledger_core.words import Phrase

RANKED = 5_000
"""So many of the newest matches are ranked: a word that stands everywhere ranks nothing."""
_POSITIONS, _POSITION = 255, 16_383
"""PostgreSQL keeps no more positions of a word, and none beyond."""
_FTS = "search_text"


class CallText(msgspec.Struct, frozen=True):
    """The words of one call, by its first entry, and the entry that it ended by."""

    index: int
    end_index: int | None
    words: Sequence[str]


class SearchTables:
    """The tables of the full text, made by ``make``, which knows where views lie."""

    def __init__(self, make: MakeTable, *, is_postgresql: bool) -> None:
        number = BigInteger().with_variant(Integer, "sqlite")
        self.is_postgresql = is_postgresql
        self.progress = make(
            "search_progress",
            Column("ledger_id", BigInteger, primary_key=True, autoincrement=False),
            Column("size", BigInteger, nullable=False),
        )
        self.texts = make(
            "search_view",
            Column("doc", number, primary_key=True, autoincrement=True),
            Column("ledger_id", BigInteger, nullable=False),
            Column("index", BigInteger, nullable=False),
            Column("end_index", BigInteger),
            Column("words", TSVECTOR if is_postgresql else LargeBinary, nullable=False),
        )
        c = self.texts.c
        Index("search_view_by_index", c.ledger_id, c.index, unique=True)
        Index("search_view_by_end", c.ledger_id, c.end_index)
        if is_postgresql:
            Index("search_view_by_word", c.words, postgresql_using="gin")

    def make_words(self, tx: Transaction) -> None:
        """Make what SQLAlchemy knows nothing of."""
        if not self.is_postgresql:
            tx.exec_driver_sql(
                f"CREATE VIRTUAL TABLE {_FTS} USING fts5(words, content='', tokenize='ascii')"
            )

    def drop_words(self, tx: Transaction) -> None:
        if not self.is_postgresql:
            tx.exec_driver_sql(f"DROP TABLE IF EXISTS {_FTS}")

    def empty_words(self, tx: Transaction) -> None:
        if not self.is_postgresql:
            tx.exec_driver_sql(f"INSERT INTO {_FTS} ({_FTS}) VALUES ('delete-all')")


class CallSearch:
    """Fills and asks the full text of one database."""

    def __init__(self, database: Database, tables: SearchTables, calls: CallTables) -> None:
        self._database = database
        self._tables = tables
        self._calls = calls

    def all_progress(self) -> dict[int, int]:
        with self._database.use_views() as tx:
            return {row[0]: row[1] for row in tx.execute(select(self._tables.progress))}

    def to_read(
        self, ledger_id: int, start: int, end: int, limit: int
    ) -> list[tuple[int, int | None]]:
        """Return the calls that began, and did not end yet, or ended in ``[start, end)``."""
        c = self._calls.calls.c
        query = select(c.index, c.end_index).where(
            c.ledger_id == ledger_id,
            c.status != "erased",
            or_(
                and_(c.end_index >= start, c.end_index < end),
                and_(c.index >= start, c.index < end, c.end_index.is_(None)),
            ),
        )
        with self._database.use_views() as tx:
            return [(row[0], row[1]) for row in tx.execute(query.order_by(c.index).limit(limit))]

    def fill(self, ledger_id: int, start: int, end: int, texts: Sequence[CallText]) -> None:
        """Add the texts of calls, in place of those there were, and go on to ``end``."""
        with self._database.use_views(write=True) as tx:
            progress = self._tables.progress
            query = select(progress.c.size).where(progress.c.ledger_id == ledger_id)
            done = tx.execute(query.with_for_update()).scalar_one_or_none()
            if (done or 0) != start:
                return
            self._remove(tx, ledger_id, [each.index for each in texts])
            self._add(tx, ledger_id, [each for each in texts if each.words])
            if done is None:
                tx.execute(insert(progress).values(ledger_id=ledger_id, size=end))
            else:
                this = progress.c.ledger_id == ledger_id
                tx.execute(update(progress).where(this).values(size=end))

    def _add(self, tx: Transaction, ledger_id: int, calls: Sequence[CallText]) -> None:
        if not calls:
            return
        if self._tables.is_postgresql:
            rows = [
                {"ledger_id": ledger_id, "index": each.index, "end_index": each.end_index,
                 "words": _vector(each.words)}
                for each in calls
            ]  # fmt: skip
            tx.execute(insert(self._tables.texts), rows)
            return
        last = tx.execute(select(func.max(self._tables.texts.c.doc))).scalar() or 0
        plain = [(last + n, " ".join(each.words)) for n, each in enumerate(calls, 1)]
        packed = [
            (doc, ledger_id, each.index, each.end_index, zlib.compress(words.encode(), 1))
            for (doc, words), each in zip(plain, calls, strict=True)
        ]
        self._database.dialect.insert_many(tx, self._tables.texts, packed)
        change_many(tx, f"INSERT INTO {_FTS} (rowid, words) VALUES (?, ?)", plain)

    # --- forgetting --------------------------------------------------------------

    def forget(self, tx: Transaction, ledger_id: int, indexes: Collection[int]) -> int:
        """Take out the text of calls that one of these entries is part of."""
        c = self._tables.texts.c
        found = set[int]()
        for some in in_parts(sorted(indexes)):
            query = select(c.index).where(
                c.ledger_id == ledger_id, or_(c.index.in_(some), c.end_index.in_(some))
            )
            found |= set(tx.execute(query).scalars())
        self._remove(tx, ledger_id, sorted(found))
        if found and not self._tables.is_postgresql:
            # Until segments are merged, what was deleted still stands in the older ones.
            tx.exec_driver_sql(f"INSERT INTO {_FTS} ({_FTS}) VALUES ('optimize')")
        return len(found)

    def _remove(self, tx: Transaction, ledger_id: int, indexes: Collection[int]) -> None:
        table = self._tables.texts
        for some in in_parts(indexes):
            these = and_(table.c.ledger_id == ledger_id, table.c.index.in_(some))
            if not self._tables.is_postgresql:
                for doc, words in tx.execute(select(table.c.doc, table.c.words).where(these)).all():
                    tx.exec_driver_sql(
                        f"INSERT INTO {_FTS} ({_FTS}, rowid, words) VALUES ('delete', ?, ?)",
                        (doc, zlib.decompress(words).decode()),
                    )
            tx.execute(delete(table).where(these))

    # --- searching ---------------------------------------------------------------

    def find(self, ledger_id: int, wanted: Sequence[Phrase], limit: int) -> list[int]:
        """Return calls that have all of these phrases, by their first entry, the best first."""
        if not wanted:
            return []
        made = self._matches_postgresql if self._tables.is_postgresql else self._matches_sqlite
        with self._database.use_views() as tx:
            return list(tx.execute(made(ledger_id, wanted).limit(limit)).scalars())

    def _matches_sqlite(self, ledger_id: int, wanted: Sequence[Phrase]) -> Any:
        newest = (
            text(
                f"SELECT rowid AS doc, bm25({_FTS}) AS rank FROM {_FTS} "
                f"WHERE {_FTS} MATCH :wanted ORDER BY rowid DESC LIMIT {RANKED}"
            )
            .bindparams(wanted=_fts_query(wanted))
            .columns(doc=Integer, rank=Integer)
            .subquery("newest")
        )
        c = self._tables.texts.c
        query = select(c.index).join(newest, newest.c.doc == c.doc)
        return query.where(c.ledger_id == ledger_id).order_by(newest.c.rank, c.doc.desc())

    def _matches_postgresql(self, ledger_id: int, wanted: Sequence[Phrase]) -> Any:
        c = self._tables.texts.c
        asked = cast(_ts_query(wanted), TSQUERY)
        newest = (
            select(c.index, c.doc, c.words)
            .where(c.ledger_id == ledger_id, c.words.bool_op("@@")(asked))
            .order_by(c.doc.desc())
            .limit(RANKED)
            .subquery("newest")
        )
        rank = func.ts_rank_cd(newest.c.words, asked, 1)
        return select(newest.c.index).order_by(rank.desc(), newest.c.doc.desc())


def _fts_query(wanted: Sequence[Phrase]) -> str:
    """Words are letters and digits alone, so nothing in quotes can end them."""
    made = (f'"{" ".join(each.words)}"{"*" if each.is_prefix else ""}' for each in wanted)
    return " ".join(made)


def _ts_query(wanted: Sequence[Phrase]) -> str:
    made = (
        " <-> ".join([f"'{word}'" for word in each.words]) + (":*" if each.is_prefix else "")
        for each in wanted
    )
    return " & ".join(f"({each})" for each in made)


def _vector(words: Sequence[str]) -> str:
    """Write words as PostgreSQL writes a tsvector."""
    places: dict[str, list[int]] = {}
    for at, word in enumerate(words, 1):
        known = places.setdefault(word, [])
        if len(known) < _POSITIONS and at <= _POSITION:
            known.append(at)
    return " ".join(_lexemes(places))


def _lexemes(places: dict[str, list[int]]) -> Iterator[str]:
    for word, at in places.items():
        yield f"'{word}':{','.join(map(str, at))}" if at else f"'{word}'"
