"""Fills the views of calls, and has them forget.

Rows are filled in the order of the log, in the transaction that fills the other views. Sums are
moved by differences: what a call says now, less what it said before. A session or a sum that
something was erased from is made anew of the rows that are left.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import add as _add
from operator import attrgetter
from operator import sub as _subtract
from typing import Any, Protocol

import msgspec
from sqlalchemy import Table, delete, select, update
from sqlalchemy.sql.elements import ColumnElement

from ledger_core.policy.calls import DAY_MS, CallFacts, CallPart
from ledger_core.policy.visibility import Circle
from ledger_core.storage.call_tables import (
    FACTS,
    SESSION_NAMES,
    SPENDING_KEY,
    SUMS,
    TEXTS,
    CallTables,
)
from ledger_core.storage.database import Dialect, Transaction
from ledger_core.storage.prepared import in_parts

_LARGEST = 1 << 36
"""A number beyond it is summed as this: an author may claim anything, and sums stay integers."""
_SUM_LARGEST = (1 << 63) - 1
_NAMES_KEPT = 32
"""Names of one kind that a session is found by."""

SessionKey = str
SpendingKey = tuple[int, str, str, str]


class Row(Protocol):
    """What is needed of an entry's row in the views."""

    @property
    def index(self) -> int: ...
    @property
    def author(self) -> str: ...
    @property
    def columns_circle(self) -> Circle: ...
    @property
    def call(self) -> CallPart | None: ...


class Call(msgspec.Struct, frozen=True):
    """A row of ``call_view``. ``facts`` is None when what it speaks by is erased."""

    index: int
    end_index: int | None
    audience: str
    author: str
    facts: CallFacts | None
    tools: tuple[str, ...] = ()

    @property
    def session(self) -> SessionKey | None:
        return self.facts.session_id if self.facts else None

    def values(self, ledger_id: int) -> tuple[Any, ...]:
        return (ledger_id, self.index, self.end_index, self.audience, self.author, *self._facts())

    def _facts(self) -> tuple[Any, ...]:
        if self.facts is None:
            return ("erased", *(None for _ in FACTS[1:]))
        return msgspec.structs.astuple(self.facts)

    def changed(self, ledger_id: int) -> tuple[Any, ...]:
        """Return the values of an update, in the order of ``_CHANGED`` and then of its key."""
        return (self.end_index, self.audience, *self._facts(), ledger_id, self.index)


_CHANGED = ("end_index", "audience", *FACTS)


_BOUNDED = tuple(name for name in FACTS if name not in TEXTS and name != "began_at")
_read_bounded = attrgetter(*_BOUNDED)


def bounded(facts: CallFacts) -> CallFacts:
    """Return facts whose numbers can be summed."""
    numbers = _read_bounded(facts)
    if max(filter(None, numbers), default=0) <= _LARGEST:
        return facts
    named = zip(_BOUNDED, numbers, strict=True)
    large = {name: _LARGEST for name, value in named if value is not None and value > _LARGEST}
    return msgspec.structs.replace(facts, **large)


class _Sums:
    """What is added to one line of spending."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: Sequence[int] = (0,) * len(SUMS)

    def add(self, worth: Sequence[int], sign: int) -> None:
        self.values = tuple(map(_add if sign > 0 else _subtract, self.values, worth))


class _Session(_Sums):
    """What is added to one session, with when and by whom it was called."""

    __slots__ = ("first", "last", "names")

    def __init__(self) -> None:
        super().__init__()
        self.first: int | None = None
        self.last = 0
        self.names: tuple[set[str], ...] = (set(), set(), set(), set())

    def meet(self, facts: CallFacts) -> None:
        began = facts.began_at
        self.first = began if self.first is None else min(self.first, began)
        self.last = max(self.last, began)
        named = (facts.model_id, facts.agent_name, facts.user_id, facts.environment)
        for kept, name in zip(self.names, named, strict=True):
            if name and len(kept) < _NAMES_KEPT:
                kept.add(name)


def _worth(facts: CallFacts) -> tuple[int, ...]:
    """Return what a call adds, in the order of ``SUMS``."""
    return (
        1,
        facts.is_error,
        int(facts.status == "refused"),
        int(facts.status == "started"),
        int(facts.cost_microusd is not None),
        facts.tokens_in or 0,
        facts.tokens_out or 0,
        facts.tokens_cached or 0,
        facts.latency_ms or 0,
        facts.cost_microusd or 0,
    )


def spending_key(facts: CallFacts) -> SpendingKey:
    return (
        facts.began_at // DAY_MS,
        facts.model_id or "",
        facts.agent_name or "",
        facts.user_id or "",
    )


class _Tally:
    """Differences of sums, by session and by line of spending."""

    def __init__(self) -> None:
        self.sessions: defaultdict[SessionKey, _Session] = defaultdict(_Session)
        self.spending: defaultdict[SpendingKey, _Sums] = defaultdict(_Sums)

    def add(self, call: Call, sign: int) -> None:
        facts = call.facts
        if facts is None:
            return
        worth = _worth(facts)
        self.spending[spending_key(facts)].add(worth, sign)
        if facts.session_id:
            session = self.sessions[facts.session_id]
            session.add(worth, sign)
            if sign > 0:
                session.meet(facts)


class _Batch:
    """Calls as a chunk of entries makes or changes them. ``before``: those that were there."""

    def __init__(self, before: Mapping[int, Call]) -> None:
        self.before = before
        self.new: dict[int, Call] = {}
        self.changed: dict[int, Call] = {}

    def take(self, row: Row, part: CallPart) -> None:
        audience, facts = row.columns_circle.audience, part.facts and bounded(part.facts)
        begun = self._find_open(part, row.author)
        if begun is not None:
            made = Call(begun.index, row.index, audience, row.author, facts, part.tools)
            (self.new if begun.index in self.new else self.changed)[begun.index] = made
        elif facts is not None:
            end = None if part.is_start else row.index
            self.new[row.index] = Call(row.index, end, audience, row.author, facts, part.tools)

    def _find_open(self, part: CallPart, author: str) -> Call | None:
        """Return the call that an entry ends: of its own author, and not ended before."""
        start = part.start
        if start is None or start in self.changed:
            return None
        found = self.new.get(start) or self.before.get(start)
        if found is None or found.end_index is not None or found.author != author:
            return None
        return found


class CallViews:
    """Fills the views of calls; works in transactions of others."""

    def __init__(self, tables: CallTables, dialect: Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._columns = tuple(tables.calls.c[name] for name in _READ)

    def fill(self, tx: Transaction, ledger_id: int, rows: Sequence[Row]) -> None:
        seen = [(row, row.call) for row in rows if row.call is not None]
        if not seen:
            return
        earlier = {
            part.start for _, part in seen if part.start is not None and part.start < rows[0].index
        }
        batch = _Batch(self._read(tx, ledger_id, self._tables.calls.c.index, earlier))
        for row, part in seen:
            batch.take(row, part)
        self._write(tx, ledger_id, batch)

    def _read(
        self, tx: Transaction, ledger_id: int, column: ColumnElement[Any], values: Collection[int]
    ) -> dict[int, Call]:
        found: dict[int, Call] = {}
        table = self._tables.calls
        for some in in_parts(sorted(values)):
            query = select(*self._columns).where(table.c.ledger_id == ledger_id, column.in_(some))
            found |= {row[0]: _parse(row) for row in tx.execute(query)}
        return found

    def _write(self, tx: Transaction, ledger_id: int, batch: _Batch) -> None:
        insert_many, calls = self._dialect.insert_many, self._tables.calls
        if batch.new:
            insert_many(tx, calls, [call.values(ledger_id) for call in batch.new.values()])
        if batch.changed:
            changed = [call.changed(ledger_id) for call in batch.changed.values()]
            self._dialect.update_many(tx, calls, ("ledger_id", "index"), _CHANGED, changed)
        tools = [
            (ledger_id, tool, call.index, count)
            for call in (*batch.new.values(), *batch.changed.values())
            if call.facts is not None
            for tool, count in Counter(call.tools).items()
        ]
        if tools:
            insert_many(tx, self._tables.tools, tools)
        tally, moved = _Tally(), set[SessionKey]()
        for call in batch.new.values():
            tally.add(call, 1)
        for call in batch.changed.values():
            before = batch.before[call.index]
            tally.add(before, -1)
            tally.add(call, 1)
            if before.session and before.session != call.session:
                moved.add(before.session)
        self._add_spending(tx, ledger_id, tally.spending)
        self._add_sessions(tx, ledger_id, tally.sessions)
        if moved:
            self._sum_anew(tx, ledger_id, moved)

    # --- sums --------------------------------------------------------------------

    def _add_spending(
        self, tx: Transaction, ledger_id: int, added: Mapping[SpendingKey, _Sums]
    ) -> None:
        rows = [(ledger_id, *key, *x.values) for key, x in added.items() if any(x.values)]
        if rows:
            key = ("ledger_id", *SPENDING_KEY)
            self._dialect.add_many(tx, self._tables.spending, key, SUMS, rows)

    def _add_sessions(
        self, tx: Transaction, ledger_id: int, added: Mapping[SessionKey, _Session]
    ) -> None:
        table = self._tables.sessions
        columns = [table.c[name] for name in ("session_id", *_SESSION)]
        there: dict[SessionKey, Sequence[Any]] = {}
        for some in in_parts(added):
            query = select(*columns).where(
                table.c.ledger_id == ledger_id, table.c.session_id.in_(some)
            )
            there |= {row[0]: row[1:] for row in tx.execute(query)}
        new = [
            (ledger_id, name, x.first, x.last, *_sum(x.values), *map(_pack, x.names))
            for name, x in added.items()
            if name not in there and x.first is not None
        ]
        if new:
            self._dialect.insert_many(tx, table, new)
        changed = [
            (*_merged(there[name], x), ledger_id, name)
            for name, x in added.items()
            if name in there
        ]
        if changed:
            key = ("ledger_id", "session_id")
            self._dialect.update_many(tx, table, key, _SESSION, changed)

    def _sum_anew(self, tx: Transaction, ledger_id: int, names: Collection[SessionKey]) -> None:
        """Make sessions of the calls that are left of them."""
        sessions, calls = self._tables.sessions, self._tables.calls
        tally = _Tally()
        for some in in_parts(sorted(names)):
            tx.execute(
                delete(sessions).where(
                    sessions.c.ledger_id == ledger_id, sessions.c.session_id.in_(some)
                )
            )
            query = select(*self._columns).where(
                calls.c.ledger_id == ledger_id, calls.c.session_id.in_(some)
            )
            for row in tx.execute(query):
                tally.add(_parse(row), 1)
        self._add_sessions(tx, ledger_id, tally.sessions)

    # --- forgetting --------------------------------------------------------------

    def forget(self, tx: Transaction, ledger_id: int, indexes: Collection[int]) -> int:
        """Take what was made of these entries' payloads, and out of all sums; count the calls."""
        calls = self._tables.calls
        found = self._read(tx, ledger_id, calls.c.index, indexes)
        found |= self._read(tx, ledger_id, calls.c.end_index, indexes)
        gone = frozenset(indexes)
        tally, sessions, touched = _Tally(), set[SessionKey](), 0
        for call in found.values():
            left = _left_of(call, gone)
            if left == call:
                continue
            touched += 1
            if left is None or left.facts is None:
                tally.add(call, -1)
                if call.session:
                    sessions.add(call.session)
            self._replace(tx, ledger_id, call, left)
        self._add_spending(tx, ledger_id, tally.spending)
        spent = self._tables.spending
        tx.execute(delete(spent).where(spent.c.ledger_id == ledger_id, spent.c.call_count == 0))
        if sessions:
            self._sum_anew(tx, ledger_id, sessions)
        return touched

    def _replace(self, tx: Transaction, ledger_id: int, call: Call, left: Call | None) -> None:
        tools, calls = self._tables.tools, self._tables.calls
        if left is not None and left.facts is not None:  # It lies where it ended now.
            for table in (calls, tools):
                tx.execute(
                    update(table).where(*_at(table, ledger_id, call)).values(index=left.index)
                )
            return
        tx.execute(delete(tools).where(*_at(tools, ledger_id, call)))
        if left is None:
            tx.execute(delete(calls).where(*_at(calls, ledger_id, call)))
        else:
            row = left.changed(ledger_id)
            self._dialect.update_many(tx, calls, ("ledger_id", "index"), _CHANGED, [row])


def _at(table: Table, ledger_id: int, call: Call) -> tuple[ColumnElement[bool], ...]:
    return table.c.ledger_id == ledger_id, table.c.index == call.index


def _left_of(call: Call, gone: frozenset[int]) -> Call | None:
    """Return what is left of a call when the payloads of these entries are gone."""
    is_start_gone, is_end_gone = call.index in gone, call.end_index in gone
    if call.end_index is None or call.end_index == call.index:
        return None if is_start_gone else call
    if is_end_gone:
        return None if is_start_gone else msgspec.structs.replace(call, facts=None, tools=())
    if not is_start_gone:
        return call
    if call.facts is None:
        return None
    return msgspec.structs.replace(call, index=call.end_index)


_READ = ("index", "end_index", "audience", "author", *FACTS)
_SESSION = ("started_at", "last_call_at", *SUMS, *SESSION_NAMES)
_JSON = msgspec.json.Decoder(list[str])


def _parse(row: Sequence[Any]) -> Call:
    index, end_index, audience, author, *facts = row
    known = None if facts[0] == "erased" else CallFacts(**dict(zip(FACTS, facts, strict=True)))
    return Call(index, end_index, audience, author, known)


def _sum(values: Iterable[int]) -> list[int]:
    return [min(value, _SUM_LARGEST) for value in values]


def _pack(names: set[str]) -> str:
    return msgspec.json.encode(sorted(names)).decode()


def pack_name(name: str) -> str:
    """Return what is found in packed names if this one is among them."""
    return msgspec.json.encode(name).decode()


def unpack(names: str) -> list[str]:
    """Return the names that a session's row keeps of one kind."""
    return _JSON.decode(names)


def _merged(row: Sequence[Any], added: _Session) -> list[Any]:
    """Return a session's row, and what is added to it."""
    first, last, *rest = row
    sums, names = rest[: len(SUMS)], rest[len(SUMS) :]
    if added.first is not None:
        first, last = min(first, added.first), max(last, added.last)
    moved = map(sum, zip(sums, added.values, strict=True))
    return [first, last, *_sum(moved), *map(_with, names, added.names)]


def _with(packed: str, names: set[str]) -> str:
    """Return packed names with some more, as far as they are kept."""
    if not names or packed == _pack(names):
        return packed
    known = set(unpack(packed))
    more = sorted(names - known)[: max(0, _NAMES_KEPT - len(known))]
    return _pack(known | set(more)) if more else packed
