"""Calls of models as one reader sees them: pages, sessions, sums, and single calls in full.

Used by the routes, the exports and MCP alike; everything blocks. A call is a dictionary with the
names that tools of this kind use, and ours beside them. Money is integer micro-USD in the log
and in every ``…_microusd``; ``cost_usd`` is the same as a JSON number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.requests import HTTPConnection

from api import actors
from api.actors import Actor
from api.calls.contents import Content, Json, Seen, read_content, see
from api.calls.frames import Requests
from api.entries import place_of
from api.service import Service
from api.sight import Sight
from ledger_core import clock, ids
from ledger_core.concealed import find_concealed
from ledger_core.errors import NotFoundError
from ledger_core.ledger import Ledger
from ledger_core.policy.calls import DAY_MS, PART
from ledger_core.policy.visibility import Standpoint
from ledger_core.storage.call_reading import CallFilter, CallReading, Scope, SessionFilter
from ledger_core.storage.call_search import Half
from ledger_core.words import Phrase, phrases

_ANSWER_BYTES = 32 * 1024 * 1024
"""Of requests and responses that one answer tells of: more of them come on the next page."""
_AT_ONCE = 32
"""Calls opened in one go: requests and responses are held in memory meanwhile."""
_SPARE = 4
"""Found so many times as many calls as are wanted: some may be hidden."""
_NUMBER_PARTS = {name: (part,) for name, part in PART.items()}

By = Literal["day", "model", "agent", "user"]
_BY: Mapping[str, str] = {
    "day": "day", "model": "model_id", "agent": "agent_name", "user": "user_id",
}  # fmt: skip


def look(service: Service, request: HTTPConnection, name: str | None = None) -> CallReader:
    """Return what reads calls for whoever asks; :class:`AccessError` if nobody may."""
    return read_as(service, actors.find_caller(service, request), name)


def read_as(service: Service, actor: Actor, name: str | None = None) -> CallReader:
    """Return what reads the calls of a ledger for an actor, as far as it may.

    The ledger that calls are captured in is made by the first of them: before, there is none.
    """
    wanted = name or service.settings.capture_ledger
    try:
        ledger = service.ledgers.get(wanted)
    except NotFoundError:
        if name is None and actor.ledger in (None, wanted):
            return CallReader(service, None)
        raise
    if not actor.sees(ledger):
        raise NotFoundError(f"no ledger named {wanted[:80]!r}")
    return CallReader(service, Sight(ledger, actor.reader_of(ledger)))


@dataclass(frozen=True)
class Listed:
    """A page and how many there are in all."""

    items: list[Json]
    total: int


@dataclass(frozen=True)
class Part:
    """Some of a session's calls, and how many of it have been passed by then."""

    calls: list[Json]
    passed: int


class CallReader:
    """One ledger's calls as one reader sees them; without a ledger there are none."""

    def __init__(self, service: Service, sight: Sight | None) -> None:
        self.sight = sight
        self._database = service.database
        self._reading = CallReading(service.database, service.ledgers.views)
        self._search = service.ledgers.views.search

    @property
    def ledger(self) -> Ledger | None:
        return None if self.sight is None else self.sight.ledger

    def _scope(self) -> Scope | None:
        """Say of which calls the reader is answered now."""
        if self.sight is None:
            return None
        ledger, reader = self.sight.ledger, self.sight.reader
        constitution = ledger.constitution()
        here = Standpoint(reader, constitution)
        # Parts are for members where nothing else is set, and for parties in a local ledger.
        by_default = here.sees_every_entry and reader.is_among_members
        sees_all = reader.is_operator or (by_default and constitution.kind != "local")
        hidden = frozenset[int]()
        if constitution.mutability:
            found = find_concealed(self._database, ledger.ledger_id, reader, _NUMBER_PARTS)
            if found:
                hidden = self._reading.still_there(ledger.ledger_id, found)
        return Scope(ledger.ledger_id, reader, sees_all, hidden)

    # --- sessions ----------------------------------------------------------------

    def sessions(self, wanted: SessionFilter, *, limit: int, offset: int) -> Listed:
        """Return sessions, those called last first."""
        scope = self._scope()
        if scope is None:
            return Listed([], 0)
        rows, total = self._reading.sessions(scope, wanted, limit=limit, offset=offset)
        return Listed([show_session(row) for row in rows], total)

    def summary(self, session_id: str) -> Json:
        """Return one session's sums; :class:`NotFoundError` if the reader sees none of it."""
        scope = self._scope()
        row = None if scope is None else self._reading.session(scope, session_id)
        if row is None:
            raise NotFoundError("no such session")
        return show_session(row)

    def session(self, session_id: str, *, limit: int, offset: int = 0) -> Part:
        """Return a session's calls in full, in the order they began, as many as fit one answer."""
        scope = self._scope()
        if scope is None:
            return Part([], 0)
        rows = self._reading.of_session(scope, session_id, limit=limit, offset=offset)
        places = {row["index"]: at for at, row in enumerate(rows, 1)}
        calls: list[Json] = []
        size_bytes = 0
        for call, _ in self.open(rows):
            size_bytes += call["request_bytes"] + call["response_bytes"]
            if calls and size_bytes > _ANSWER_BYTES:
                return Part(calls, offset + places[calls[-1]["index"]])
            calls.append(call)
        return Part(calls, offset + len(rows))

    # --- calls -------------------------------------------------------------------

    def calls(self, wanted: CallFilter, *, before: int | None, limit: int) -> list[Json]:
        """Return calls without what was said in them, the newest first."""
        scope = self._scope()
        if scope is None:
            return []
        rows = self._reading.calls(scope, wanted, before=before, limit=limit)
        return [self.show_row(row) for row in rows]

    def call(self, action_id: str) -> Json:
        """Return a call in full; of several with this id, the newest."""
        scope = self._scope()
        for row in [] if scope is None else self._reading.find(scope, action_id):
            for call, _ in self.open([row]):
                return call
        raise NotFoundError("no such call")

    def moved(self, start: int, limit: int) -> tuple[list[Json], int]:
        """Return calls that ended from entry ``start`` on, and the entry to go on from."""
        scope = self._scope()
        if scope is None:
            return [], start
        covered = self._reading.covered(scope.ledger_id)
        rows = self._reading.moved(scope, start, covered, limit)
        after = rows[-1]["end_index"] + 1 if len(rows) == limit else max(start, covered)
        return [self.show_row(row) for row in rows], after

    def search(self, query: str, limit: int) -> list[Json]:
        """Return calls in full that have all of a query's words, the best first."""
        if self.sight is None:
            return []
        wanted = phrases(query)
        found = self._search.find(self.sight.ledger.ledger_id, wanted, limit * _SPARE)
        scope = self._scope()
        rows = {} if scope is None or not found else self._reading.at(scope, found)
        kept: list[Json] = []
        size_bytes = 0
        some = [rows[index] for index in found if index in rows]
        for call, entries in self.open(some, at_once=min(limit, _AT_ONCE)):
            if not self._may_be_found(call, entries, wanted):
                continue
            size_bytes += call["request_bytes"] + call["response_bytes"]
            if kept and size_bytes > _ANSWER_BYTES:
                break
            kept.append(call)
            if len(kept) == limit:
                break
        return kept

    def _may_be_found(self, call: Json, entries: Sequence[Seen], wanted: Sequence[Phrase]) -> bool:
        """Say whether nothing that is hidden or gone is needed to find a call by these words."""
        spoken = call["index"] if call["end_index"] is None else call["end_index"]
        halves: dict[Half, int] = {"spoken": spoken}
        if spoken != call["index"]:
            halves["begun"] = call["index"]
        shown = {each.entry.index for each in entries if _is_open(each)}
        seen = [half for half, index in halves.items() if index in shown]
        if len(seen) == len(halves):
            return True
        ledger_id = self._sight().ledger.ledger_id
        return any(self._search.has(ledger_id, spoken, wanted, half) for half in seen)

    def covered(self) -> int:
        """Return how many entries can be read about here."""
        return 0 if self.sight is None else self._reading.covered(self.sight.ledger.ledger_id)

    def rows_of_session(self, session_id: str, *, limit: int) -> list[Json]:
        scope = self._scope()
        if scope is None:
            return []
        return self._reading.of_session(scope, session_id, limit=limit, offset=0)

    def open(
        self, rows: Sequence[Json], *, at_once: int = _AT_ONCE
    ) -> Iterator[tuple[Json, list[Seen]]]:
        """Yield calls in full, each with the entries it is made of; what is hidden is left out."""
        requests = Requests(self._sight()) if rows else None
        for at in range(0, len(rows), at_once):
            some = rows[at : at + at_once]
            seen = self._see(some)
            for row in some:
                start, end = _split(row, seen)
                call = self._show(row, start, end, requests) if requests else None
                if call is not None:
                    yield call, [each for each in (start, end) if each is not None]

    def _see(self, rows: Sequence[Json]) -> dict[int, Seen]:
        sight = self._sight()
        wanted = {row["index"] for row in rows} | {row["end_index"] for row in rows}
        indexes = sorted(index for index in wanted if index is not None)
        entries = sight.pick(sight.ledger.entries(indexes))
        parts = sight.parts(entries, sight.ledger.states.of(entries))
        return {entry.index: see(entry, parts[entry.index]) for entry in entries}

    def _sight(self) -> Sight:
        if self.sight is None:
            raise NotFoundError("no call was captured yet")
        return self.sight

    def _show(
        self, row: Json, start: Seen | None, end: Seen | None, requests: Requests
    ) -> Json | None:
        """Describe a call; None if what it speaks by is not for the reader."""
        speaking = end if row["end_index"] is not None else start
        if speaking is None:
            return None
        said = speaking.said()
        if said is None and row["status"] != "erased":
            return None
        sight = self._sight()
        content = read_content(start, end, said or {}, requests.resolve)
        shown = describe(sight.ledger.name, row, said or {}, content)
        places = sight.find(
            {part.by for each in (start, end) if each for part in each.parts.values() if part.by}
        )
        shown["entries"] = [
            _show_entry(sight.ledger.name, each, places) for each in (start, end) if each
        ]
        return shown

    def show_row(self, row: Json) -> Json:
        """Describe a call by its row alone."""
        ledger = "" if self.ledger is None else self.ledger.name
        return _identity(ledger, row) | {name: row[name] for name in _ROW}

    # --- sums --------------------------------------------------------------------

    def spending(self, by: Sequence[By], since: int | None, until: int | None) -> list[Json]:
        """Return sums by day, model, agent or user; days since the Unix epoch, ``until`` not in."""
        scope = self._scope()
        if scope is None:
            return []
        rows = self._reading.spending(scope, [_BY[each] for each in by], since, until)
        return [_show_spent(row) for row in rows]

    def models(self, since: int | None, until: int | None) -> list[Json]:
        """Return sums by model, and how long its calls took."""
        scope = self._scope()
        if scope is None:
            return []
        latencies = self._reading.latencies(scope, since, until)
        rows = self._reading.spending(scope, ["model_id"], since, until)
        return [_show_spent(row) | _percentiles(latencies.get(row["model_id"], ())) for row in rows]

    def handoffs(self, since: int | None = None, until: int | None = None) -> list[Json]:
        scope = self._scope()
        rows = [] if scope is None else self._reading.handoffs(scope, since, until)
        return [_show_spent(row) for row in rows]

    def tools(self, since: int | None = None, until: int | None = None) -> list[Json]:
        scope = self._scope()
        return [] if scope is None else self._reading.tools(scope, since, until)


def _is_open(seen: Seen) -> bool:
    """Say whether nothing of an entry is hidden or gone: its words may be of any part."""
    return all(seen.status_of(name) == "present" for name in seen.parts)


def _split(row: Json, seen: Mapping[int, Seen]) -> tuple[Seen | None, Seen | None]:
    """Return the entries of a call's start and end; what stands alone is an end."""
    end = seen.get(row["end_index"])
    start = None if row["index"] == row["end_index"] else seen.get(row["index"])
    return start, end


# --- as dictionaries -----------------------------------------------------------------


_ROW = (
    "latency_ms", "status_code", "tokens_in", "tokens_out", "tokens_cached", "tokens_cache_write",
    "tokens_reasoning", "tokens_audio", "stop_reason", "model_id", "provider", "session_id",
    "user_id", "agent_name", "app_id", "environment", "parent_action_id", "handoff_from",
    "handoff_to", "first_token_ms", "cost_microusd", "cost_basis", "ended", "reason", "wire",
)  # fmt: skip
_SAID = (
    "session_id", "timestamp", "model_id", "provider", "stop_reason", "tokens_in", "tokens_out",
    "latency_ms", "status_code", "error_detail", "agent_name", "user_id", "app_id", "environment",
    "parent_action_id", "handoff_from", "handoff_to", "temperature", "max_tokens", "tokens_cached",
    "tokens_cache_write", "tokens_reasoning", "tokens_audio", "cost_microusd", "cost_basis",
    "price_source", "price_model", "first_token_ms", "response_id", "request_id",
    "response_model", "service_tier", "error_type", "ended", "reason", "message", "limit", "used",
    "scope", "retry_after_s", "wire", "method", "path", "query", "stream", "tags", "credential",
    "level", "redactions", "reserved_microusd",
)  # fmt: skip
_DEFAULTS: Json = {
    "environment": "development", "stream": False, "tags": {}, "cost_basis": "unknown",
    "wire": "other", "method": "POST", "level": "full", "redactions": 0,
}  # fmt: skip


def describe(ledger: str, row: Json, said: Json, content: Content) -> Json:
    """Return a call as a dictionary: names that tools of this kind use, and ours."""
    made = _identity(ledger, row)
    made |= {name: said.get(name, _DEFAULTS.get(name)) for name in _SAID}
    made |= content.fields()
    if row["status"] == "refused":
        made["error_detail"] = f"blocked: {made['reason']}: {made['message']}"
    made |= {"cost_usd": usd(made["cost_microusd"])}
    made["ended"] = said.get("ended", "complete") if row["status"] == "done" else None
    made["request_status"] = content.request_status
    made["response_status"] = content.response_status
    made["problems"] = dict(content.problems)
    made |= {"request_bytes": content.request_bytes, "response_bytes": content.response_bytes}
    return made


def _identity(ledger: str, row: Json) -> Json:
    began = row["began_at"]
    return {
        "action_id": row["action_id"],
        "status": row["status"],
        "timestamp": None if began is None else clock.format_time(began),
        "cost_usd": usd(row["cost_microusd"]),
        "is_error": bool(row["is_error"]),
        "ledger": ledger,
        "index": row["index"],
        "end_index": row["end_index"],
        "author": row["author"],
        "receipt": _receipt_path(ledger, row["end_index"] or row["index"]),
    }


def _receipt_path(ledger: str, index: int) -> str:
    return f"/api/v1/ledgers/{ledger}/entries/{index}/receipt"


def _show_entry(ledger: str, seen: Seen, places: Mapping[bytes, int]) -> Json:
    return {
        "index": seen.entry.index,
        "type": seen.record.type,
        "leaf_hash": ids.format_digest(seen.entry.leaf_hash),
        "receipt": _receipt_path(ledger, seen.entry.index),
        "parts": {
            name: {"status": seen.status_of(name), "by": place_of(part, places)}
            for name, part in sorted(seen.parts.items())
        },
    }


def usd(microusd: int | None) -> float | None:
    """Return an amount as the number that its decimal is written with."""
    return None if microusd is None else microusd / 1_000_000


def _sums(row: Json) -> Json:
    """Return sums; what no call had a price for has no cost."""
    cost = row["cost_microusd"] if row["priced_count"] else None
    return {
        "call_count": row["call_count"],
        "error_count": row["error_count"],
        "blocked_count": row["blocked_count"],
        "started_count": row["started_count"],
        "unpriced_count": row["call_count"] - row["blocked_count"] - row["priced_count"],
        "total_latency_ms": row["latency_ms"],
        "total_tokens_in": row["tokens_in"],
        "total_tokens_out": row["tokens_out"],
        "total_tokens_cached": row["tokens_cached"],
        "total_cost_usd": usd(cost),
        "total_cost_microusd": cost,
    }


def show_session(row: Json) -> Json:
    """Return a session as a row of the list of sessions."""
    return {
        "session_id": row["session_id"],
        **_sums(row),
        "started_at": clock.format_time(row["started_at"]),
        "last_call_at": clock.format_time(row["last_call_at"]),
        "model_id": max(row["models"], default=None),
        "agent_name": max(row["agents"], default=None),
        "user_id": max(row["users"], default=None),
        "environment": max(row["environments"], default=None),
        "models": row["models"],
        "agents": row["agents"],
        "users": row["users"],
    }


def _show_spent(row: Json) -> Json:
    keys = {name: row[name] or None for name in (*_BY.values(), "handoff_from", "handoff_to")
            if name in row and name != "day"}  # fmt: skip
    if "day" in row:
        keys = {"day": clock.format_time(row["day"] * DAY_MS)[:10]} | keys
    return keys | _sums(row)


def _percentiles(counted: Sequence[tuple[int, int]]) -> Json:
    """Return the latencies that half, 95 and 99 of a hundred calls did not exceed."""
    total = sum(count for _, count in counted)
    found: Json = {f"p{share}_latency_ms": None for share in (50, 95, 99)}
    seen, wanted = 0, [(share, -(-total * share // 100)) for share in (50, 95, 99)]
    for latency_ms, count in counted:
        seen += count
        while wanted and seen >= wanted[0][1]:
            found[f"p{wanted.pop(0)[0]}_latency_ms"] = latency_ms
    return found
