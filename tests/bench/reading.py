"""Reading calls at size: ``python -m tests.bench.reading [CALLS]``.

Fills the views of 200,000 calls in 20,000 sessions, with 1 KiB of text each, as the follower and
the indexer do, and times what the read API asks. Entries themselves are not made: what is timed
is the views, which is what grows.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger_core.policy.calls import CallFacts, CallPart
from ledger_core.policy.visibility import Circle, Reader
from ledger_core.storage.call_reading import CallFilter, CallReading, Scope, SessionFilter
from ledger_core.storage.call_search import CallText
from ledger_core.storage.database import open_database
from ledger_core.storage.views import ViewRow, Views
from ledger_core.words import fold, phrases

_CHUNK = 500
_DAY_MS = 86_400_000
_START_MS = 1_785_579_072_345
_MEMBERS = Circle("members")
_RUNS = 20


class Filling:
    """Makes rows as the follower does: a start and an end for each call."""

    def __init__(self, calls: int) -> None:
        self._rng = random.Random(1)
        self._calls = calls
        letters = "abcdefghijklmnopqrstuvwxyz"
        self._words = [
            "".join(self._rng.choices(letters, k=self._rng.randint(2, 9))) for _ in range(30_000)
        ]

    @property
    def common(self) -> str:
        """Return a word that stands in very many texts."""
        return next(word for word in self._words if len(word) > 5)

    def text(self) -> str:
        """Return words of which some are common and most are rare, as in any language."""
        picks = (int(30_000 * self._rng.random() ** 3) for _ in range(170))
        return " ".join([self._words[at] for at in picks])

    def rows(self, call: int) -> list[ViewRow]:
        rng = self._rng
        session = call // 10 if rng.random() < 0.9 else rng.randrange(call // 10 + 1)
        facts = CallFacts(
            status="started",
            began_at=_START_MS + call * _DAY_MS // self._calls,
            action_id=f"call-{call}",
            provider="openai",
            wire="openai.chat",
            model_id=f"model-{rng.randrange(12)}",
            session_id=f"session-{session}",
            user_id=f"user-{session % 500}",
            agent_name=f"agent-{rng.randrange(20)}",
            environment="production",
        )
        numbers: dict[str, Any] = {
            "status": "done", "status_code": 200, "latency_ms": rng.randrange(200, 20_000),
            "tokens_in": rng.randrange(5_000), "tokens_out": rng.randrange(900),
            "cost_microusd": rng.randrange(40_000), "cost_basis": "provider", "ended": "complete",
        }  # fmt: skip
        known = {name: getattr(facts, name) for name in facts.__struct_fields__}
        done = CallFacts(**(known | numbers))
        at = call * 2
        tools = ("search",) if call % 3 == 0 else ()
        return [
            self._row(at, "llm.start/1", CallPart(facts, is_start=True)),
            self._row(at + 1, "llm.call/2", CallPart(done, tools, answers=b"", start=at)),
        ]

    @staticmethod
    def _row(index: int, kind: str, part: CallPart) -> ViewRow:
        return ViewRow(
            index=index, type=kind, author="ed25519:author", received_at=_START_MS + index,
            leaf_hash=index.to_bytes(32, "big"), stream=None, refs=(), columns={},
            circle=_MEMBERS, columns_circle=_MEMBERS, call=part,
        )  # fmt: skip


def timed(name: str, ask: Callable[[], object]) -> None:
    """Time one question, the middle of so many runs and the slowest."""
    took: list[float] = []
    used: list[float] = []
    for _ in range(_RUNS):
        began, before = time.perf_counter(), time.thread_time()
        ask()
        took.append((time.perf_counter() - began) * 1000)
        used.append((time.thread_time() - before) * 1000)
    took.sort()
    used.sort()
    middle = len(took) // 2
    print(f"{name:44} {took[middle]:8.1f} ms {took[-1]:8.1f} ms {used[middle]:8.1f} ms")


def fill(views: Views, filling: Filling, calls: int) -> None:
    per_chunk = _CHUNK // 2
    in_calls_s, in_all_s = 0.0, 0.0
    fill_calls = views.calls.fill

    def measured(*given: Any) -> None:
        nonlocal in_calls_s
        began = time.thread_time()
        fill_calls(*given)
        in_calls_s += time.thread_time() - began

    views.calls.fill = measured  # type: ignore[method-assign, assignment]
    for start in range(0, calls, per_chunk):
        some = range(start, min(start + per_chunk, calls))
        rows = [row for call in some for row in filling.rows(call)]
        began = time.thread_time()
        views.fill(1, rows)
        in_all_s += time.thread_time() - began
    print(f"views of a call: {in_calls_s / calls * 1e6:.0f} us, of {in_all_s / calls * 1e6:.0f} us "
          "for all views of its two entries")  # fmt: skip


def index(views: Views, filling: Filling, calls: int) -> None:
    folding_s, filling_s = 0.0, 0.0
    for start in range(0, calls, 128):
        texts: list[CallText] = []
        for call in range(start, min(start + 128, calls)):
            text = filling.text() + (" needle" if call % 20_000 == 7 else "")
            before = time.thread_time()
            texts.append(CallText(call * 2 + 1, fold(text)))
            folding_s += time.thread_time() - before
        before = time.thread_time()
        views.search.fill(1, start * 2, min(start + 128, calls) * 2, texts)
        filling_s += time.thread_time() - before
    took_s = filling_s + folding_s
    print(f"full text of a call: {took_s / calls * 1e6:.0f} us, "
          f"of which folding {folding_s / calls * 1e6:.0f} us")  # fmt: skip


def ask(reading: CallReading, views: Views) -> None:
    scope = Scope(1)
    rows = Scope(1, Reader(is_insider=True), sees_all=False)
    common = Filling(1).common
    page = SessionFilter()
    timed("sessions, first page", lambda: reading.sessions(scope, page, limit=50, offset=0))
    timed("sessions, page 200", lambda: reading.sessions(scope, page, limit=50, offset=10_000))
    by_agent = SessionFilter(agent="agent-7")
    timed("sessions of an agent", lambda: reading.sessions(scope, by_agent, limit=50, offset=0))
    by_name = SessionFilter(q="session-19")
    timed("sessions by name", lambda: reading.sessions(scope, by_name, limit=50, offset=0))
    timed(
        "calls of a session", lambda: reading.of_session(scope, "session-77", limit=1000, offset=0)
    )
    everything = CallFilter()
    timed("calls, first page", lambda: reading.calls(scope, everything, before=None, limit=100))
    by_user = CallFilter(user_id="user-499", model_id="model-3")
    timed(
        "calls of a user and model", lambda: reading.calls(scope, by_user, before=None, limit=100)
    )
    timed(
        "spending by day and model",
        lambda: reading.spending(scope, ["day", "model_id"], None, None),
    )
    timed("latencies of all models", lambda: reading.latencies(scope, None, None))
    timed("tools", lambda: reading.tools(scope, None, None))
    for name, query in (
        ("a rare word", "needle"), ("a common word", common), ("a beginning", common[:3]),
        ("two words", f"needle {common}"), ("a phrase", f'"{common} {common}"'),
    ):  # fmt: skip
        timed(f"search: {name}", lambda q=query: views.search.find(1, phrases(q), 80))  # type: ignore[misc]
    timed("sessions, for who sees only some calls",
          lambda: reading.sessions(rows, page, limit=50, offset=0))  # fmt: skip


def main(calls: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/ledger.db")
        views = Views(database)
        views.ensure()
        filling = Filling(calls)
        fill(views, filling, calls)
        index(views, filling, calls)
        size = sum(each.stat().st_size for each in Path(folder).glob("ledger.views.db*"))
        memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{calls:,} calls: views of {size / calls:,.0f} bytes a call, "
              f"{memory_kib // 1024} MiB of memory at most")  # fmt: skip
        print(f"{'':44} {'middle':>11} {'slowest':>11} {'processor':>11}")
        ask(CallReading(database, views), views)
        database.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
