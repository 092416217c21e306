"""Views of calls: one row a call, sums that are those of the rows, and what erasure takes."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from ledger_core import ids
from ledger_core.ledger import Ledger
from ledger_core.policy.calls import DAY_MS
from ledger_core.policy.visibility import NOBODY, OPERATOR, Reader
from ledger_core.records.rules import EVERY_TYPE, MutabilitySetting
from ledger_core.records.targets import Parts
from ledger_core.records.types.charter import Founding
from ledger_core.records.types.erasure import Erasure
from ledger_core.sequencer import Appended
from ledger_core.storage.call_reading import CallFilter, CallReading, Scope, SessionFilter
from tests.support import calls
from tests.support.ledgers import START_MS, Author, Replica, Service, appended, register

ERASABLE = Founding(mutability=(MutabilitySetting(type=EVERY_TYPE, erase=("author",)),))
ALL = SessionFilter()


class Desk:
    """A ledger of calls, and what reads it."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.ledger: Ledger = replica.ledgers.create("calls", founding=ERASABLE)
        self.author: Author = register(self.ledger)
        self.reading = CallReading(replica.database, replica.ledgers.views)
        self.scope = Scope(self.ledger.ledger_id)

    def all(self, scope: Scope | None = None) -> list[dict[str, Any]]:
        calls.settle(self.ledger)
        return self.reading.calls(scope or self.scope, CallFilter(), before=None, limit=1000)

    def sessions(self, wanted: SessionFilter = ALL, scope: Scope | None = None) -> list[Any]:
        calls.settle(self.ledger)
        found, total = self.reading.sessions(scope or self.scope, wanted, limit=100, offset=0)
        assert total == len(found)
        return found

    def erase(self, placed: Appended, part: str) -> None:
        target = Parts(ids.format_digest(placed.leaf_hash), (part,))
        body = msgspec.json.encode(Erasure((target,), "subject"))
        order = self.author.seal("erasure/1", {"body": body})
        index = appended(self.ledger.append([order])[0]).index
        self.ledger.wait_for(index + 1, 60)
        assert self.ledger.effects([index])[index].done_at is not None

    def everything(self) -> dict[str, Any]:
        """Return all that can be asked, to compare before and after a rebuild."""
        return {
            "calls": self.all(),
            "sessions": self.sessions(),
            "spending": self.spending(self.scope),
            "tools": self.reading.tools(self.scope, None, None),
            "handoffs": self.reading.handoffs(self.scope, None, None),
        }

    def spending(self, scope: Scope) -> list[dict[str, Any]]:
        by = ("day", "model_id", "agent_name", "user_id")
        return self.reading.spending(scope, by, None, None)

    def check_sums(self) -> None:
        """Sums that are kept are those that are made of the rows."""
        calls.settle(self.ledger)
        rows = Scope(self.ledger.ledger_id, OPERATOR, sees_all=False)
        assert self.spending(self.scope) == self.spending(rows)
        for kept, made in zip(self.sessions(), self.sessions(scope=rows), strict=True):
            names = ("models", "agents", "users", "environments")
            assert [kept[x][-1:] for x in names] == [made[x] for x in names]
            assert {k: v for k, v in kept.items() if k not in names} == {
                k: v for k, v in made.items() if k not in names
            }

    def check_rebuilt(self) -> None:
        """Views that were kept are those that are filled anew."""
        before = self.everything()
        self.replica.ledgers.views.rebuild()
        self.replica.ledgers.follower.catch_up()
        self.replica.ledgers.follower._filled.clear()
        assert self.replica.ledgers.follower.catch_up() is None
        assert self.everything() == before


@pytest.fixture
def desk(service: Service) -> Desk:
    return Desk(service.open())


def test_a_call_has_one_row_from_its_start_to_its_end(desk: Desk) -> None:
    submission = calls.start(desk.author, "a1", session_id="s", model_id="gpt-5")
    begun = appended(desk.ledger.append([submission])[0])
    (row,) = desk.all()
    assert (row["status"], row["index"], row["end_index"]) == ("started", begun.index, None)
    assert desk.sessions()[0]["started_count"] == 1
    ended = calls.end(
        desk.author, "a1", begun.leaf_hash, session_id="s", model_id="gpt-5", cost_microusd=70
    )
    done = appended(desk.ledger.append([ended])[0])
    (row,) = desk.all()
    assert (row["status"], row["index"], row["end_index"]) == ("done", begun.index, done.index)
    assert (row["cost_microusd"], row["tokens_in"], row["latency_ms"]) == (70, 10, 250)
    (session,) = desk.sessions()
    assert (session["call_count"], session["started_count"]) == (1, 0)
    assert session["cost_microusd"] == 70
    desk.check_sums()


def test_a_start_and_its_end_in_one_chunk_are_one_row(desk: Desk) -> None:
    desk.replica.ledgers.follower.close()
    for n in range(20):
        calls.record(desk.ledger, desk.author, f"a{n}", session_id=f"s{n % 3}")
    desk.replica.ledgers.follower._closing = False
    assert desk.replica.ledgers.follower.catch_up() is None
    rows = desk.reading.calls(desk.scope, CallFilter(), before=None, limit=100)
    assert [row["status"] for row in rows] == ["done"] * 20


def test_refused_calls_failed_calls_and_calls_recorded_directly_are_counted_apart(
    desk: Desk,
) -> None:
    author = desk.author
    said: dict[str, Any] = {"session_id": "s", "agent_name": "planner"}
    desk.ledger.append(
        [
            calls.refusal(author, "r", **said),
            calls.end(author, "d", **said, cost_microusd=5, tool_names=["look", "look", "go"]),
            calls.end(author, "f", **said, status_code=500),
            calls.end(author, "t", **said, status_code=None, ended="timed_out"),
            calls.start(author, "o", **said),
        ]
    )
    (session,) = desk.sessions()
    assert session["call_count"] == 5
    assert (session["blocked_count"], session["error_count"]) == (1, 2)
    assert (session["started_count"], session["priced_count"]) == (1, 1)
    assert session["agents"] == ["planner"]
    assert desk.reading.tools(desk.scope, None, None) == [
        {"tool": "look", "executions": 2, "call_count": 1},
        {"tool": "go", "executions": 1, "call_count": 1},
    ]
    desk.check_sums()


def test_nobody_ends_a_call_that_another_began_and_no_call_ends_twice(desk: Desk) -> None:
    other = register(desk.ledger)
    begun = appended(desk.ledger.append([calls.start(desk.author, "a", session_id="s")])[0])
    forged = calls.end(other, "a", begun.leaf_hash, session_id="s", cost_microusd=9)
    desk.ledger.append([forged])
    assert {row["status"] for row in desk.all()} == {"done", "started"}
    honest = calls.end(desk.author, "a", begun.leaf_hash, session_id="s", cost_microusd=1)
    again = calls.end(desk.author, "a", begun.leaf_hash, session_id="s", cost_microusd=2)
    desk.ledger.append([honest])
    desk.all()
    desk.ledger.append([again])
    by_cost = {row["cost_microusd"]: row["index"] for row in desk.all()}
    assert by_cost.keys() == {9, 1, 2}
    assert by_cost[1] == begun.index
    desk.check_sums()


def test_absurd_numbers_are_summed_as_large_ones(desk: Desk) -> None:
    absurd: dict[str, Any] = {"tokens_in": 2**53 - 1, "cost_microusd": 2**53 - 1, "session_id": "s"}
    desk.ledger.append([calls.end(desk.author, f"a{n}", **absurd) for n in range(50)])
    assert desk.sessions()[0]["cost_microusd"] == 50 * 2**36
    desk.check_sums()


def test_sessions_are_found_by_each_filter_and_paged_by_their_last_call(desk: Desk) -> None:
    for n in range(6):
        said: dict[str, Any] = {
            "session_id": f"run-{n}",
            "agent_name": f"agent {n % 2}",
            "user_id": f'u"{n % 3}',
            "model_id": f"Model-{n}",
            "environment": "production" if n == 4 else "development",
        }
        calls.record(desk.ledger, desk.author, f"a{n}", began_ms=START_MS + n, **said)
    names = [each["session_id"] for each in desk.sessions()]
    assert names == [f"run-{n}" for n in (5, 4, 3, 2, 1, 0)]
    for scope in (desk.scope, Scope(desk.ledger.ledger_id, OPERATOR, sees_all=False)):

        def found(scope: Scope = scope, **wanted: Any) -> list[str]:
            rows = desk.sessions(SessionFilter(**wanted), scope)
            return [each["session_id"] for each in rows]

        assert found(agent="agent 1") == ["run-5", "run-3", "run-1"]
        assert found(agent="agent") == []
        assert found(user='u"2') == ["run-5", "run-2"]
        assert found(model="MODEL-3") == ["run-3"]
        assert found(environment="production") == ["run-4"]
        assert found(q="RUN-2") == ["run-2"]
        assert found(q="%") == []
        assert found(since=START_MS + 4) == ["run-5", "run-4"]
        page, total = desk.reading.sessions(scope, ALL, limit=2, offset=3)
        assert ([each["session_id"] for each in page], total) == (["run-2", "run-1"], 6)


def test_spending_is_told_by_day_model_agent_and_user(desk: Desk) -> None:
    for n in range(8):
        calls.record(
            desk.ledger,
            desk.author,
            f"a{n}",
            began_ms=START_MS + (n % 2) * DAY_MS,
            model_id=f"m{n % 4}",
            outcome={"cost_microusd": n, "latency_ms": n * 10},
        )
    calls.settle(desk.ledger)
    day = START_MS // DAY_MS
    by_day = desk.reading.spending(desk.scope, ("day",), None, None)
    assert [(each["day"], each["cost_microusd"]) for each in by_day] == [(day, 12), (day + 1, 16)]
    later = desk.reading.spending(desk.scope, ("model_id",), day + 1, None)
    assert [(each["model_id"], each["cost_microusd"]) for each in later] == [("m1", 6), ("m3", 10)]
    assert desk.reading.latencies(desk.scope, None, None)["m1"] == [(10, 1), (50, 1)]
    desk.check_sums()


def test_whoever_may_not_see_a_call_finds_it_in_no_sum(desk: Desk) -> None:
    desk.ledger.append([calls.end(desk.author, "a", session_id="s", cost_microusd=5)])
    nobody = Scope(desk.ledger.ledger_id, NOBODY, sees_all=False)
    insider = Scope(desk.ledger.ledger_id, Reader(is_insider=True), sees_all=False)
    assert desk.all(nobody) == []
    assert desk.sessions(scope=nobody) == []
    assert desk.spending(nobody) == []
    assert len(desk.all(insider)) == 1
    hidden = Scope(desk.ledger.ledger_id, hidden=frozenset({desk.all()[0]["index"]}))
    assert desk.sessions(scope=hidden) == []
    assert desk.reading.tools(hidden, None, None) == []


@pytest.mark.parametrize("order", [("start",), ("end",), ("start", "end"), ("end", "start")])
def test_what_is_erased_is_in_no_row_and_no_sum_as_if_it_were_filled_anew(
    desk: Desk, order: tuple[str, ...]
) -> None:
    said: dict[str, Any] = {"session_id": "s", "user_id": "u", "model_id": "m"}
    tools: dict[str, Any] = {"cost_microusd": 7, "tool_names": ["t"]}
    placed = calls.record(desk.ledger, desk.author, "gone", outcome=tools, **said)
    calls.record(desk.ledger, desk.author, "kept", outcome={"cost_microusd": 1}, **said)
    calls.settle(desk.ledger)
    for which in order:
        at, part = (placed[0], "start") if which == "start" else (placed[1], "call")
        desk.erase(at, part)
    desk.check_sums()
    desk.check_rebuilt()
    left = {row["action_id"]: row["status"] for row in desk.all()}
    assert left.pop("kept") == "done"
    alone: dict[tuple[str, ...], Any] = {("start",): {"gone": "done"}, ("end",): {None: "erased"}}
    assert left == alone.get(order, {})


def test_a_session_of_which_everything_is_erased_is_gone(desk: Desk) -> None:
    placed = calls.record(desk.ledger, desk.author, "a", session_id="s")
    calls.settle(desk.ledger)
    desk.erase(placed[0], "start")
    desk.erase(placed[1], "call")
    assert desk.sessions() == []
    with desk.replica.database.use_views() as tx:
        schema = "ledgergrid_views." if desk.replica.database.dialect.name != "sqlite" else ""
        for table in ("call_view", "session_view", "spending_view", "tool_view"):
            assert tx.execute(text(f"SELECT count(*) FROM {schema}{table}")).scalar() == 0


def test_sums_are_those_of_the_rows_whatever_happens(desk: Desk) -> None:
    rng = random.Random(5)
    open_calls: list[tuple[str, Appended, dict[str, Any]]] = []
    for n in range(60):
        said: dict[str, Any] = {
            "session_id": f"s{rng.randrange(4)}",
            "model_id": f"m{rng.randrange(3)}",
        }
        kind = rng.randrange(4)
        if kind == 0 and open_calls:
            name, begun, was = open_calls.pop(rng.randrange(len(open_calls)))
            if rng.random() < 0.2:
                was = said
            body = calls.end(desk.author, name, begun.leaf_hash, cost_microusd=n, **was)
        elif kind == 1:
            body = calls.refusal(desk.author, f"r{n}", **said)
        elif kind == 2:
            body = calls.end(desk.author, f"d{n}", status_code=rng.choice((200, 500)), **said)
        else:
            begun = appended(desk.ledger.append([calls.start(desk.author, f"c{n}", **said)])[0])
            open_calls.append((f"c{n}", begun, said))
            continue
        desk.ledger.append([body])
        if n % 7 == 0:
            calls.settle(desk.ledger)
    desk.check_sums()
    desk.check_rebuilt()
