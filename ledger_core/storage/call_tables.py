"""The tables of the views of calls: one row a call, and what is summed over many of them.

``call_view`` has each call once, at its first entry. ``end_index`` is the entry it speaks by; as
long as that is null it is started, outcome unknown. ``session_view`` and ``spending_view`` hold
sums over all calls, for whoever sees all calls; for anybody else sums are made of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Table, Text

from ledger_core.policy.calls import CallFacts

MakeTable = Callable[..., Table]
"""Takes a name and columns; makes a table where views lie."""

FACTS: tuple[str, ...] = CallFacts.__struct_fields__
TEXTS = frozenset({
    "status", "action_id", "provider", "wire", "model_id", "session_id", "user_id", "agent_name",
    "app_id", "environment", "parent_action_id", "handoff_from", "handoff_to", "ended", "reason",
    "cost_basis", "stop_reason",
})  # fmt: skip
"""The facts that are text; all others are integers."""

SUMS = (
    "call_count", "error_count", "blocked_count", "started_count", "priced_count", "tokens_in",
    "tokens_out", "tokens_cached", "latency_ms", "cost_microusd",
)  # fmt: skip
"""What is summed, in sessions and in spending alike."""
SPENDING_KEY = ("day", "model_id", "agent_name", "user_id")
SESSION_NAMES = ("models", "agents", "users", "environments")
"""Of a session: JSON arrays of the names that its calls have."""


class CallTables:
    """The tables, made by ``make``, which knows where views lie."""

    def __init__(self, make: MakeTable) -> None:
        facts = [Column(name, Text if name in TEXTS else BigInteger) for name in FACTS]
        self.calls = make(
            "call_view",
            _key("ledger_id"),
            _key("index"),
            Column("end_index", BigInteger),
            Column("audience", Text, nullable=False),
            Column("author", Text, nullable=False),
            *facts,
        )
        c = self.calls.c
        for name in ("end_index", "action_id", "session_id"):
            add_index(f"call_view_by_{name}", c.ledger_id, c[name], found_by=c[name])
        add_index(
            "call_view_by_latency",
            *(c.ledger_id, c.model_id, c.latency_ms, c.began_at),
            found_by=c.latency_ms,
        )
        add_index(
            "call_view_by_handoff",
            *(c.ledger_id, c.handoff_from, c.handoff_to),
            found_by=c.handoff_to,
        )
        self.sessions = make(
            "session_view",
            _key("ledger_id"),
            Column("session_id", Text, primary_key=True),
            Column("started_at", BigInteger, nullable=False),
            Column("last_call_at", BigInteger, nullable=False),
            *(Column(name, BigInteger, nullable=False) for name in SUMS),
            *(Column(name, Text, nullable=False) for name in SESSION_NAMES),
        )
        s = self.sessions.c
        Index("session_view_by_last_call", s.ledger_id, s.last_call_at, s.session_id)
        self.spending = make(
            "spending_view",
            _key("ledger_id"),
            _key("day"),
            *(Column(name, Text, primary_key=True) for name in SPENDING_KEY[1:]),
            *(Column(name, BigInteger, nullable=False) for name in SUMS),
        )
        self.tools = make(
            "tool_view",
            _key("ledger_id"),
            Column("tool", Text, primary_key=True),
            _key("index"),
            Column("count", BigInteger, nullable=False),
        )
        t = self.tools.c
        Index("tool_view_by_index", t.ledger_id, t.index)

    def statistics(self) -> Sequence[str]:
        """Return what tells SQLite how many calls each index finds, in any ledger worth a plan.

        Told nothing it reads all calls of a ledger, from the newest, to find one by its id.
        """
        found = {
            "": "1000000 1",
            "_by_end_index": "1000000 1",
            "_by_action_id": "1000000 1",
            "_by_session_id": "1000000 20",
            "_by_latency": "1000000 100000 50 1 noskipscan",
            "_by_handoff": "100000 10000 1000",
        }
        name = self.calls.name
        return (
            f"ANALYZE {name}",
            f"DELETE FROM sqlite_stat1 WHERE tbl = '{name}'",
            *(
                f"INSERT INTO sqlite_stat1 VALUES ('{name}', '{name}{index}', '1000000 {counts}')"
                for index, counts in found.items()
            ),
            "ANALYZE sqlite_schema",
        )

    @property
    def all(self) -> Sequence[Table]:
        """All of them: nothing in them is not made of payloads."""
        return (self.calls, self.sessions, self.spending, self.tools)


def add_index(name: str, *columns: Column[Any], found_by: Column[Any]) -> None:
    """Make an index of rows that have a value in this column: no query finds others by it."""
    where = found_by.is_not(None) if found_by.nullable else None
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


def _key(name: str) -> Column[Any]:
    return Column(name, BigInteger, primary_key=True, autoincrement=False)
