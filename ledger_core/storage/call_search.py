"""Full text of calls, beside the views: which words stand in which call.

On SQLite an FTS5 table without the text itself; the words that went in are kept compressed,
because FTS5 wants to be told what it is to forget. On PostgreSQL a ``tsvector`` of the same words,
with no dictionary of its own. Whoever searches gets the newest matches, the best of them first.

A call stands here by the entry it speaks by, with two texts: what that entry says, and what the
start said that it ended. So one can be forgotten, or be hidden from a reader, without the other.

It has a progress of its own, behind that of the other views.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

from ledger_core.storage.call_tables import CallTables, MakeTable
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.prepared import Prepared, Row, change_many, in_parts, query_all
from ledger_core.words import Phrase

RANKED = 1_000
"""So many of the newest matches are ranked."""
_BEGINNING = 100
"""FTS5 finds a beginning by putting together all places of all words that begin so, twice. As
long as these are no more it is asked for the words themselves."""
Half = Literal["begun", "spoken"]
"""Of what its start said, or of the entry that the call speaks by."""
_NEAR_SHARE = 2
"""Among so many times as many calls a word is common that PostgreSQL need not look for further."""
_WEIGHTS: dict[Half, str] = {"begun": "A", "spoken": "B"}
_POSITIONS, _POSITION = 255, 16_383
"""PostgreSQL keeps no more positions of a word, and none beyond."""
_LEDGER = 1 << 40
"""So far apart lie two ledgers' calls."""
_FTS, _WORDS = "search_text", "search_word"
_MAKE_FTS = (
    f"CREATE VIRTUAL TABLE {_FTS} USING fts5(begun, spoken, content='', tokenize='ascii')",
    # Merging less often takes a fifth less of the time that words cost.
    f"INSERT INTO {_FTS} ({_FTS}, rank) VALUES ('automerge', 8)",
    f"CREATE VIRTUAL TABLE {_WORDS} USING fts5vocab({_FTS}, instance)",
)


_Plain = tuple[int, str, str]


class CallText(msgspec.Struct, frozen=True):
    """The words of one call: those of the entry it speaks by, and those of its start before."""

    index: int
    spoken: str
    begun: str = ""


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
            Column("doc", number, primary_key=True, autoincrement=False),
            Column("words", TSVECTOR if is_postgresql else LargeBinary, nullable=False),
        )
        if is_postgresql:
            Index("search_view_by_word", self.texts.c.words, postgresql_using="gin")

    def definition(self) -> Sequence[str]:
        """Return what makes those parts that SQLAlchemy knows nothing of."""
        if self.is_postgresql:
            return ()
        return _MAKE_FTS

    def drop_words(self, tx: Transaction) -> None:
        if not self.is_postgresql:
            for name in (_WORDS, _FTS):
                tx.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")

    def empty_words(self, tx: Transaction) -> None:
        if not self.is_postgresql:
            tx.exec_driver_sql(f"INSERT INTO {_FTS} ({_FTS}) VALUES ('delete-all')")


class CallSearch:
    """Fills and asks the full text of one database."""

    def __init__(
        self,
        database: Database,
        tables: SearchTables,
        calls: CallTables,
        ranked: int = RANKED,
    ) -> None:
        self._database = database
        self._tables = tables
        self._calls = calls
        self._ranked = ranked
        self._to_read = _prepare_to_read(calls)

    def all_progress(self) -> dict[int, int]:
        with self._database.use_views() as tx:
            return {row[0]: row[1] for row in tx.execute(select(self._tables.progress))}

    def to_read(
        self, ledger_id: int, start: int, end: int, limit: int
    ) -> list[tuple[int, int | None]]:
        """Return the calls that began, and did not end yet, or ended in ``[start, end)``."""
        with self._database.use_views() as tx:
            asked = {"ledger": ledger_id, "start": start, "end": end, "limit": limit}
            return [(row[0], row[1]) for row in self._to_read.rows(tx, **asked)]

    def fill(
        self,
        ledger_id: int,
        start: int,
        end: int,
        texts: Sequence[CallText],
        ended: Collection[int] = (),
    ) -> None:
        """Add the texts of calls that speak by entries of ``[start, end)``, and go on to ``end``.

        ``ended``: the starts before ``start`` that these calls spoke by until now.
        """
        with self._database.use_views(write=True) as tx:
            progress = self._tables.progress
            query = select(progress.c.size).where(progress.c.ledger_id == ledger_id)
            done = tx.execute(query.with_for_update()).scalar_one_or_none()
            if (done or 0) != start:
                return
            self._remove(tx, [_doc(ledger_id, index) for index in sorted(ended)])
            self._add(tx, ledger_id, texts)
            if done is None:
                tx.execute(insert(progress).values(ledger_id=ledger_id, size=end))
            else:
                this = progress.c.ledger_id == ledger_id
                tx.execute(update(progress).where(this).values(size=end))

    def _add(self, tx: Transaction, ledger_id: int, texts: Sequence[CallText]) -> None:
        docs = sorted(
            (_doc(ledger_id, each.index), each.begun, each.spoken)
            for each in texts
            if each.begun or each.spoken
        )
        insert_many = self._database.dialect.insert_many
        if docs and self._tables.is_postgresql:
            insert_many(tx, self._tables.texts, [(doc, _vector(*said)) for doc, *said in docs])
        elif docs:
            self._add_plain(tx, docs)

    def _add_plain(self, tx: Transaction, docs: Sequence[_Plain]) -> None:
        packed = [(doc, _pack(begun, spoken)) for doc, begun, spoken in docs]
        self._database.dialect.insert_many(tx, self._tables.texts, packed)
        change_many(tx, f"INSERT INTO {_FTS} (rowid, begun, spoken) VALUES (?, ?, ?)", docs)

    # --- forgetting --------------------------------------------------------------

    def forget(self, tx: Transaction, ledger_id: int, indexes: Collection[int]) -> int:
        """Take out what these entries said, and leave what the others of their calls say.

        As long as the views of calls know which entries are one call.
        """
        c = self._calls.calls.c
        halves: dict[int, set[Half]] = {index: {"spoken"} for index in indexes}
        for some in in_parts(sorted(indexes)):
            query = select(c.end_index).where(
                c.ledger_id == ledger_id, c.index.in_(some), c.end_index > c.index
            )
            for end_index in tx.execute(query).scalars():
                halves.setdefault(end_index, set()).add("begun")
        docs = {_doc(ledger_id, index): gone for index, gone in sorted(halves.items())}
        if self._tables.is_postgresql:
            return self._forget_postgresql(tx, docs)
        return self._forget_sqlite(tx, docs)

    def _forget_sqlite(self, tx: Transaction, docs: Mapping[int, set[Half]]) -> int:
        found = self._remove(tx, docs)
        kept = [
            (doc, "" if "begun" in docs[doc] else begun, "" if "spoken" in docs[doc] else spoken)
            for doc, begun, spoken in found
        ]
        self._add_plain(tx, [each for each in kept if any(each[1:])])
        if found:
            # Until segments are merged, what was deleted still stands in the older ones.
            tx.exec_driver_sql(f"INSERT INTO {_FTS} ({_FTS}) VALUES ('optimize')")
        return len(found)

    def _forget_postgresql(self, tx: Transaction, docs: Mapping[int, set[Half]]) -> int:
        table, count = self._tables.texts, 0
        for half, weight in _WEIGHTS.items():
            these = [doc for doc, gone in docs.items() if half in gone]
            others = "".join(x for x in _WEIGHTS.values() if x != weight)
            left = func.ts_filter(table.c.words, literal_column(f"'{{{others}}}'::\"char\"[]"))
            for some in in_parts(these):
                moved = update(table).where(table.c.doc.in_(some)).values(words=left)
                count += tx.execute(moved).rowcount
        for some in in_parts(docs):
            is_empty = func.length(table.c.words) == 0
            tx.execute(delete(table).where(table.c.doc.in_(some), is_empty))
        return count

    def _remove(self, tx: Transaction, docs: Collection[int]) -> list[_Plain]:
        """Take texts out; return them, where that is known."""
        table = self._tables.texts
        if self._tables.is_postgresql:
            for some in in_parts(docs):
                tx.execute(delete(table).where(table.c.doc.in_(some)))
            return []
        asked = [(_TEXT, (doc,)) for doc in docs]
        found = [(*row, *_unpack(packed)) for rows in query_all(tx, asked) for *row, packed in rows]
        if found:
            change_many(tx, f"DELETE FROM {table.name} WHERE doc = ?", [(x[0],) for x in found])
            forget = f"INSERT INTO {_FTS} ({_FTS}, rowid, begun, spoken) VALUES ('delete', ?, ?, ?)"
            change_many(tx, forget, found)
        return found

    # --- searching ---------------------------------------------------------------

    def find(self, ledger_id: int, wanted: Sequence[Phrase], limit: int) -> list[int]:
        """Return calls that have all of these phrases, the best first, by where they speak.

        Of more than ``RANKED`` calls that have them, the newest.
        """
        if not wanted:
            return []
        lowest = _doc(ledger_id, 0)
        places = (lowest, lowest + _LEDGER, self._ranked)
        with self._database.use_views() as tx:
            query = self._query(tx, wanted)
            if not self._tables.is_postgresql:
                found = self._rows(tx, _FIND, (query, *places, limit))
            else:
                found = self._find_near(tx, query, places, limit) or self._rows(
                    tx, _FIND, (query, *places, query, limit)
                )
        return [row[0] - lowest for row in found]

    def _find_near(
        self, tx: Transaction, query: str, places: tuple[int, int, int], limit: int
    ) -> list[Row]:
        """Return what a search finds if the newest calls alone have enough of it.

        PostgreSQL looks at every row that has a word before it knows which are the newest.
        """
        lowest, highest, ranked = places
        values = (lowest, highest, ranked * _NEAR_SHARE, query, ranked, query, limit)
        found = query_all(tx, [(_FIND_NEAR, values)])[0]
        return found if found and found[0][1] == ranked else []

    def has(self, ledger_id: int, index: int, wanted: Sequence[Phrase], half: Half) -> bool:
        """Say whether one half of what was said in a call has all of these phrases."""
        doc = _doc(ledger_id, index)
        with self._database.use_views() as tx:
            return bool(self._rows(tx, _HAS, (self._query(tx, wanted, half), doc)))

    def _query(self, tx: Transaction, wanted: Sequence[Phrase], half: Half | None = None) -> str:
        if self._tables.is_postgresql:
            return _ts_query(wanted, half)
        return _fts_query([self._going_on(tx, each) for each in wanted], half)

    def _going_on(self, tx: Transaction, phrase: Phrase) -> Sequence[Phrase]:
        """Return the phrases that a phrase stands for, if it may go on: itself if they are many."""
        if not phrase.is_prefix:
            return [phrase]
        *before, last = phrase.words
        words = [
            row[0] for row in query_all(tx, [(_GO_ON, (last, last + _LAST, _BEGINNING + 1))])[0]
        ]
        if len(words) > _BEGINNING:
            return [phrase]
        return [Phrase((*before, word), False) for word in words or [last]]

    def _rows(self, tx: Transaction, text: _Text, values: Sequence[Any]) -> list[Row]:
        return query_all(tx, [(getattr(text, self._database.dialect.name), values)])[0]


class _Text(NamedTuple):
    """A query as each database wants it: what is asked for, the lowest place, the highest."""

    sqlite: str
    postgresql: str


_NEWEST = _Text(
    f"FROM {_FTS} WHERE {_FTS} MATCH ? AND rowid >= ? AND rowid < ?",
    # Behind OFFSET no plan reads all there is, the newest first, in the hope of a match.
    "FROM ledgergrid_views.search_view "
    "WHERE words @@ %b::tsquery AND doc >= %b AND doc < %b OFFSET 0",
)
_TEXT = "SELECT doc, words FROM search_view WHERE doc = ?"
_HAS = _Text(
    f"SELECT 1 FROM {_FTS} WHERE {_FTS} MATCH ? AND rowid = ?",
    "SELECT 1 FROM ledgergrid_views.search_view WHERE words @@ %b::tsquery AND doc = %b",
)
_LAST = chr(0x10FFFF)
_NEXT = f"(SELECT term FROM {_WORDS} WHERE term >= {{}} AND term <= ?2 LIMIT 1)"
_GO_ON = (
    # Each step leaps over all places of a word to the next one.
    f"WITH RECURSIVE found(term) AS (SELECT {_NEXT.format('?1')} UNION ALL "
    f"SELECT {_NEXT.format('found.term || char(1)')} FROM found "
    "WHERE found.term IS NOT NULL LIMIT ?3) SELECT term FROM found WHERE term IS NOT NULL"
)
_FIND_NEAR = (
    "SELECT doc, count(*) OVER () FROM (SELECT doc, words FROM ("
    "SELECT doc, words FROM ledgergrid_views.search_view WHERE doc >= %b AND doc < %b "
    "ORDER BY doc DESC LIMIT %b) f WHERE words @@ %b::tsquery ORDER BY doc DESC LIMIT %b) f "
    "ORDER BY ts_rank_cd('{1,1,1,1}', words, %b::tsquery, 1) DESC, doc DESC LIMIT %b"
)
_FIND = _Text(
    f"SELECT doc FROM (SELECT rowid AS doc, bm25({_FTS}) AS rank {_NEWEST.sqlite} "
    "ORDER BY rowid DESC LIMIT ?) ORDER BY rank, doc DESC LIMIT ?",
    f"SELECT doc FROM (SELECT doc, words FROM (SELECT doc, words {_NEWEST.postgresql}) f "
    "ORDER BY doc DESC LIMIT %b) f "
    "ORDER BY ts_rank_cd('{1,1,1,1}', words, %b::tsquery, 1) DESC, doc DESC LIMIT %b",
)


def _prepare_to_read(calls: CallTables) -> Prepared:
    """Prepare two queries in one, each by an index: a condition of both reads a whole ledger."""
    c = calls.calls.c
    ledger, start, end, limit = (
        bindparam(name, type_=BigInteger) for name in ("ledger", "start", "end", "limit")
    )
    both = select(c.index, c.end_index).where(c.ledger_id == ledger)
    ended = both.where(c.end_index >= start, c.end_index < end)
    began = both.where(c.index >= start, c.index < end, c.end_index.is_(None))
    # SQLite is told of an offset whether or not there is one.
    return Prepared(union_all(ended, began).limit(limit).offset(literal_column("0")))


def _doc(ledger_id: int, index: int) -> int:
    return ledger_id * _LEDGER + index


def _pack(begun: str, spoken: str) -> bytes:
    # With little memory it takes half the time, and as much room.
    packer = zlib.compressobj(1, zlib.DEFLATED, -12, 6)
    return packer.compress(f"{begun}\n{spoken}".encode()) + packer.flush()


def _unpack(packed: bytes) -> tuple[str, str]:
    begun, spoken = zlib.decompress(packed, -12).decode().split("\n")
    return begun, spoken


def _fts_query(wanted: Sequence[Sequence[Phrase]], half: Half | None) -> str:
    """Words are letters and digits alone, so nothing in quotes can end them."""
    made = (" OR ".join(map(_fts_phrase, each)) for each in wanted)
    return f"{{{half or 'begun spoken'}}} : (({') AND ('.join(made)}))"


def _fts_phrase(phrase: Phrase) -> str:
    return f'"{" ".join(phrase.words)}"{"*" if phrase.is_prefix else ""}'


def _ts_query(wanted: Sequence[Phrase], half: Half | None) -> str:
    weight = _WEIGHTS[half] if half else ""
    made = (" <-> ".join(_lexemes_of(each, weight)) for each in wanted)
    return " & ".join(f"({each})" for each in made)


def _lexemes_of(phrase: Phrase, weight: str) -> Iterator[str]:
    *words, last = phrase.words
    for word in words:
        yield f"'{word}':{weight}" if weight else f"'{word}'"
    end = ("*" if phrase.is_prefix else "") + weight
    yield f"'{last}':{end}" if end else f"'{last}'"


def _vector(begun: str, spoken: str) -> str:
    """Write words as PostgreSQL writes a tsvector, those of a start with another weight."""
    said = spoken.split()
    behind = len(said) + 2  # So that no phrase reaches from one into the other.
    places: dict[str, list[str]] = {}
    for words, first, weight in ((said, 1, "B"), (begun.split(), behind, "A")):
        for at, word in enumerate(words, first):
            known = places.setdefault(word, [])
            if len(known) < _POSITIONS and at <= _POSITION:
                known.append(f"{at}{weight}")
    lexemes = (f"'{word}':{','.join(at)}" if at else f"'{word}'" for word, at in places.items())
    return " ".join(lexemes)
