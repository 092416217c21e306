"""Reads the views of calls: pages of calls and sessions, and what is summed over them.

Whoever sees every call is answered from sums that are kept; for anybody else the same numbers
are made of the calls that they see, so that no sum tells of a call that is hidden.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    true,
)

from ledger_core.policy.calls import DAY_MS
from ledger_core.policy.visibility import OPERATOR, Reader
from ledger_core.storage.call_tables import FACTS, SESSION_NAMES, SPENDING_KEY, SUMS
from ledger_core.storage.calls import pack_name, unpack
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.search import is_shown
from ledger_core.storage.views import Views

Json = dict[str, Any]


@dataclass(frozen=True)
class Scope:
    """Of whose calls one reads. ``hidden``: entries whose calls do not count for the reader now.

    ``sees_all``: the reader sees every call there is, but for those that are ``hidden``.
    """

    ledger_id: int
    reader: Reader = OPERATOR
    sees_all: bool = True
    hidden: frozenset[int] = frozenset()

    @property
    def is_whole(self) -> bool:
        return self.sees_all and not self.hidden


@dataclass(frozen=True)
class CallFilter:
    """Filters, all of which must hold; times in ms, ``until`` exclusive."""

    session_id: str | None = None
    action_id: str | None = None
    agent_name: str | None = None
    user_id: str | None = None
    model_id: str | None = None
    provider: str | None = None
    app_id: str | None = None
    environment: str | None = None
    status: str | None = None
    parent_action_id: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True)
class SessionFilter:
    """``model`` and ``q`` are found anywhere in a name, whatever the case; others are exact."""

    agent: str | None = None
    user: str | None = None
    model: str | None = None
    environment: str | None = None
    q: str | None = None
    since: int | None = None
    until: int | None = None


class CallReading:
    """Answers from the views of one database; blocking."""

    def __init__(self, database: Database, views: Views) -> None:
        self._database = database
        self._views = views
        self._tables = views.tables.of_calls

    # --- calls -------------------------------------------------------------------

    def calls(
        self, scope: Scope, wanted: CallFilter, *, before: int | None, limit: int
    ) -> list[Json]:
        """Return calls, those that began last in the log first, of indexes below ``before``."""
        c = self._tables.calls.c
        query = self._select(scope).order_by(c.index.desc()).limit(limit)
        query = query.where(*_filters(c, wanted))
        if before is not None:
            query = query.where(c.index < before)
        return self._rows(query)

    def of_session(self, scope: Scope, session_id: str, *, limit: int, offset: int) -> list[Json]:
        """Return a session's calls in the order they began."""
        c = self._tables.calls.c
        query = self._select(scope).where(c.session_id == session_id)
        return self._rows(query.order_by(c.began_at, c.index).limit(limit).offset(offset))

    def find(self, scope: Scope, action_id: str) -> list[Json]:
        """Return the calls of this id, the newest first; whoever records may repeat one."""
        c = self._tables.calls.c
        query = self._select(scope).where(c.action_id == action_id)
        return self._rows(query.order_by(c.index.desc()).limit(10))

    def at(self, scope: Scope, indexes: Collection[int]) -> dict[int, Json]:
        """Return calls by the index of the entry that they speak by."""
        with self._database.use_views() as tx:
            rows = [
                row
                for where in self._speak_at(indexes)
                for row in _read(tx, self._select(scope).where(where))
            ]
        return {row["index"] if row["end_index"] is None else row["end_index"]: row for row in rows}

    def moved(self, scope: Scope, start: int, end: int, limit: int) -> list[Json]:
        """Return calls that ended by an entry of ``[start, end)``, in the order of the log."""
        c = self._tables.calls.c
        query = self._select(scope).where(c.end_index >= start, c.end_index < end)
        return self._rows(query.order_by(c.end_index).limit(limit))

    def covered(self, ledger_id: int) -> int:
        """Return how many entries the views cover."""
        return self._views.progress(ledger_id)

    def _select(self, scope: Scope) -> Select[Any]:
        c = self._tables.calls.c
        columns = [c[name] for name in ("index", "end_index", "author", *FACTS)]
        return select(*columns).where(*self._shown(scope))

    def _shown(self, scope: Scope) -> list[ColumnElement[bool]]:
        c = self._tables.calls.c
        spoken, readers = func.coalesce(c.end_index, c.index), self._views.tables.column_readers
        shown = [
            c.ledger_id == scope.ledger_id,
            is_shown(c.audience, spoken, readers, scope.ledger_id, scope.reader),
        ]
        if scope.hidden:
            shown.append(spoken.not_in(sorted(scope.hidden)))
        return shown

    def still_there(self, ledger_id: int, indexes: Collection[int]) -> frozenset[int]:
        """Return those of these entries by which calls speak in the views."""
        c = self._tables.calls.c
        spoken = func.coalesce(c.end_index, c.index)
        query = select(spoken).where(c.ledger_id == ledger_id, c.status != "erased")
        with self._database.use_views() as tx:
            return frozenset(
                index
                for where in self._speak_at(indexes)
                for index in tx.execute(query.where(where)).scalars()
            )

    def _speak_at(self, indexes: Collection[int]) -> list[ColumnElement[bool]]:
        """Return conditions for one query each: of both in one, SQLite reads all calls."""
        c, some = self._tables.calls.c, sorted(indexes)
        # Without the plus it would look among all calls that did not end.
        return [c.end_index.in_(some), and_(c.index.in_(some), (c.end_index + 0).is_(None))]

    # --- sessions ----------------------------------------------------------------

    def sessions(
        self, scope: Scope, wanted: SessionFilter, *, limit: int, offset: int
    ) -> tuple[list[Json], int]:
        """Return a page of sessions, those called last first, and how many there are in all."""
        found = self._sessions(scope)
        where = self._session_filters(scope, found, wanted)
        columns = found.c
        query = select(*columns).where(*where)
        query = query.order_by(columns.last_call_at.desc(), columns.session_id.desc())
        count = select(func.count()).select_from(found).where(*where)
        with self._database.use_views() as tx:
            rows = tx.execute(query.limit(limit).offset(offset)).mappings().all()
            total = tx.execute(count).scalar_one()
        return [_session(row, packed=scope.is_whole) for row in rows], total

    def session(self, scope: Scope, session_id: str) -> Json | None:
        """Return one session's sums, if the reader sees any call of it."""
        found = self._sessions(scope)
        query = select(*found.c).where(found.c.session_id == session_id)
        with self._database.use_views() as tx:
            row = tx.execute(query).mappings().first()
        return None if row is None else _session(row, packed=scope.is_whole)

    def _sessions(self, scope: Scope) -> FromClause:
        if scope.is_whole:
            s = self._tables.sessions.c
            columns = ("session_id", "started_at", "last_call_at", *SUMS, *SESSION_NAMES)
            names = [s[name] for name in columns]
            return select(*names).where(s.ledger_id == scope.ledger_id).subquery()
        c = self._tables.calls.c
        made = select(
            c.session_id,
            func.min(c.began_at).label("started_at"),
            func.max(c.began_at).label("last_call_at"),
            *self._sums(),
            *(
                func.max(c[one]).label(many)
                for one, many in zip(_NAMED, SESSION_NAMES, strict=True)
            ),
        ).where(*self._shown(scope), c.session_id.is_not(None), c.session_id != "")
        return made.group_by(c.session_id).subquery()

    def _sums(self) -> list[ColumnElement[Any]]:
        """Return what ``SUMS`` are made of, over calls that are not erased."""
        c = self._tables.calls.c
        made: dict[str, ColumnElement[Any]] = {
            "call_count": func.count(),
            "error_count": func.sum(c.is_error),
            "blocked_count": func.count().filter(c.status == "refused"),
            "started_count": func.count().filter(c.status == "started"),
            "priced_count": func.count(c.cost_microusd),
        }
        return [
            made.get(name, func.coalesce(func.sum(c[name]), 0) if name in c else literal(0)).label(
                name
            )
            for name in SUMS
        ]

    def _session_filters(
        self, scope: Scope, found: FromClause, wanted: SessionFilter
    ) -> list[ColumnElement[bool]]:
        c = found.c
        where: list[ColumnElement[bool]] = []
        named = (("agents", wanted.agent), ("users", wanted.user))
        for column, name in (*named, ("environments", wanted.environment)):
            if name is not None and scope.is_whole:
                where.append(self._holds(c[column], pack_name(name)))
            elif name is not None:
                where.append(self._has_call(scope, c.session_id, column, name))
        if wanted.model is not None:
            where.append(self._is_like(c.models, wanted.model))
        if wanted.q is not None:
            parts = (c.session_id, c.agents, c.users)
            where.append(or_(*(self._is_like(part, wanted.q) for part in parts)))
        if wanted.since is not None:
            where.append(c.last_call_at >= wanted.since)
        if wanted.until is not None:
            where.append(c.last_call_at < wanted.until)
        return where

    def _is_like(self, column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
        """Find a text in a column whatever the case; SQLite's LIKE knows that of ASCII alone."""
        is_sqlite = self._database.dialect.name == "sqlite"
        find = column.contains if is_sqlite and text.isascii() else column.icontains
        return find(text, autoescape=True)

    def _holds(self, column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
        is_postgresql = self._database.dialect.name == "postgresql"
        place = func.strpos(column, text) if is_postgresql else func.instr(column, text)
        return place > 0

    def _has_call(
        self, scope: Scope, session_id: ColumnElement[Any], column: str, name: str
    ) -> ColumnElement[bool]:
        c = self._tables.calls.c
        one = c[_NAMED[SESSION_NAMES.index(column)]]
        return session_id.in_(select(c.session_id).where(*self._shown(scope), one == name))

    # --- sums --------------------------------------------------------------------

    def spending(
        self, scope: Scope, by: Sequence[str], since: int | None, until: int | None
    ) -> list[Json]:
        """Return sums by some of day, model, agent and user; days since the Unix epoch."""
        found = self._spending(scope)
        c = found.c
        keys = [c[name] for name in by]
        query = select(*keys, *(func.sum(c[name]).label(name) for name in SUMS))
        if since is not None:
            query = query.where(c.day >= since)
        if until is not None:
            query = query.where(c.day < until)
        query = query.group_by(*keys).order_by(*keys)
        with self._database.use_views() as tx:
            rows = tx.execute(query).mappings().all()
        return [_summed(row, by) for row in rows if row["call_count"]]

    def _spending(self, scope: Scope) -> FromClause:
        if scope.is_whole:
            s = self._tables.spending.c
            columns = [s[name] for name in (*SPENDING_KEY, *SUMS)]
            return select(*columns).where(s.ledger_id == scope.ledger_id).subquery()
        c = self._tables.calls.c
        key = [(c.began_at // DAY_MS).label("day")]
        key += [func.coalesce(c[name], "").label(name) for name in SPENDING_KEY[1:]]
        made = select(*key, *self._sums()).where(*self._shown(scope), c.status != "erased")
        return made.group_by(*key).subquery()

    def latencies(
        self, scope: Scope, since: int | None, until: int | None
    ) -> dict[str, list[tuple[int, int]]]:
        """Return by model how many calls took how many milliseconds, in order of those."""
        c = self._tables.calls.c
        query = select(c.model_id, c.latency_ms, func.count()).where(c.latency_ms.is_not(None))
        if scope.is_whole:
            query = query.where(c.ledger_id == scope.ledger_id)
        else:
            query = query.where(*self._shown(scope))
        query = query.where(*_days(c, since, until))
        query = query.group_by(c.model_id, c.latency_ms).order_by(c.model_id, c.latency_ms)
        found: dict[str, list[tuple[int, int]]] = {}
        with self._database.use_views() as tx:
            for model, latency_ms, count in tx.execute(query):
                found.setdefault(model or "", []).append((latency_ms, count))
        return found

    def handoffs(self, scope: Scope, since: int | None, until: int | None) -> list[Json]:
        """Return sums by who handed over to whom."""
        c = self._tables.calls.c
        query = select(c.handoff_from, c.handoff_to, *self._sums()).where(
            *self._shown(scope), c.handoff_to.is_not(None), *_days(c, since, until)
        )
        query = query.group_by(c.handoff_from, c.handoff_to)
        query = query.order_by(c.handoff_from, c.handoff_to)
        with self._database.use_views() as tx:
            rows = tx.execute(query).mappings().all()
        return [_summed(row, ("handoff_from", "handoff_to")) for row in rows]

    def tools(self, scope: Scope, since: int | None, until: int | None) -> list[Json]:
        """Return by tool how often it was called, and in how many calls."""
        c, t = self._tables.calls.c, self._tables.tools.c
        query = select(
            t.tool, func.sum(t.count).label("executions"), func.count().label("call_count")
        ).where(t.ledger_id == scope.ledger_id)
        if not scope.is_whole or since is not None or until is not None:
            these = and_(c.ledger_id == t.ledger_id, c.index == t.index)
            query = query.join(self._tables.calls, these)
            query = query.where(*self._shown(scope), *_days(c, since, until))
        query = query.group_by(t.tool).order_by(func.sum(t.count).desc(), t.tool)
        with self._database.use_views() as tx:
            rows = tx.execute(query).mappings().all()
        return [
            {"tool": row["tool"], "executions": int(row["executions"]),
             "call_count": row["call_count"]}
            for row in rows
        ]  # fmt: skip

    def _rows(self, query: Select[Any]) -> list[Json]:
        with self._database.use_views() as tx:
            return _read(tx, query)


_NAMED = ("model_id", "agent_name", "user_id", "environment")
"""The columns that ``SESSION_NAMES`` collect."""


def _read(tx: Transaction, query: Select[Any]) -> list[Json]:
    return [dict(row) for row in tx.execute(query).mappings()]


def _filters(c: Any, wanted: CallFilter) -> list[ColumnElement[bool]]:
    names = (
        "session_id", "action_id", "agent_name", "user_id", "model_id", "provider", "app_id",
        "environment", "status", "parent_action_id",
    )  # fmt: skip
    given = ((name, getattr(wanted, name)) for name in names)
    where = [c[name] == value for name, value in given if value is not None]
    if wanted.since is not None:
        where.append(c.began_at >= wanted.since)
    if wanted.until is not None:
        where.append(c.began_at < wanted.until)
    return where or [true()]


def _days(c: Any, since: int | None, until: int | None) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [true()]
    if since is not None:
        where.append(c.began_at >= since * DAY_MS)
    if until is not None:
        where.append(c.began_at < until * DAY_MS)
    return where


def _session(row: Mapping[Any, Any], *, packed: bool) -> Json:
    """Return a session with all its names, or with the greatest of them if it was made now."""
    found = {name: int(row[name]) for name in ("started_at", "last_call_at", *SUMS)}
    names = {
        name: unpack(row[name]) if packed else [each for each in (row[name],) if each]
        for name in SESSION_NAMES
    }
    return {"session_id": row["session_id"], **found, **names}


def _summed(row: Mapping[Any, Any], keys: Sequence[str]) -> Json:
    return {name: row[name] for name in keys} | {name: int(row[name] or 0) for name in SUMS}
