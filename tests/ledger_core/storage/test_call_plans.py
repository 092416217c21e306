"""However many calls there are, SQLite finds one of them, or those of a session, by an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import event

from ledger_core.storage.call_reading import CallFilter, CallReading, Scope
from ledger_core.storage.database import Database, open_database
from ledger_core.storage.views import Views

WHOLE, PARTIAL = Scope(1), Scope(1, hidden=frozenset({5, 6}))
ASKED: dict[str, Callable[[CallReading], object]] = {
    "a call": lambda r: r.find(WHOLE, "x"),
    "calls by where they speak": lambda r: r.at(WHOLE, [1, 2, 3]),
    "calls that are hidden": lambda r: r.still_there(1, [1, 2]),
    "calls that just ended": lambda r: r.moved(WHOLE, 1, 9, 5),
    "calls of a session": lambda r: r.of_session(WHOLE, "x", limit=5, offset=0),
    "newest calls of a session": lambda r: r.calls(
        WHOLE, CallFilter(session_id="x"), before=None, limit=5
    ),
    "a session": lambda r: r.session(WHOLE, "x"),
    "a session, in part": lambda r: r.session(PARTIAL, "x"),
}


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    with closing(open_database(sqlite_url)) as made:
        yield made


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_of_few_calls_does_not_read_all(database: Database, name: str) -> None:
    views, plans = Views(database), list[str]()
    views.ensure()

    @event.listens_for(database.views, "before_cursor_execute")
    def explain(_: Any, cursor: Any, statement: str, values: Any, *more: Any) -> None:
        if statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.extend(row[3] for row in cursor.fetchall())

    ASKED[name](CallReading(database, views))
    searched = [each for each in plans if each.startswith("SEARCH")]
    assert searched
    assert [each for each in searched if each.endswith("(ledger_id=?)")] == []
    assert [each for each in plans if each.startswith("SCAN") and "_view" in each] == []
