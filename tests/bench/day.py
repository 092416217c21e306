"""``make bench-day``: a busy day, compressed: 200,000 calls in ten thousand sessions, one service.

    python -m tests.bench.day [--calls N] [--postgresql]

Memory and disk after each tenth of the day, and what people wait for when they look: the list of
sessions, one session, a search. Nothing may grow that need not: memory at the end of the day is
held to what it was after a quarter of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx

from tests.bench import machine, processes, proxy, proxy_subjects
from tests.bench.figures import Ceiling, Figure, Report, Target, percentile
from tests.bench.proxy import Measured
from tests.bench.proxy_load import CALLS_PER_SESSION
from tests.bench.proxy_subjects import Subject
from tests.support.postgresql import postgresql

CALLS: Final = 200_000
_CLIENTS: Final = 32
_SLICES: Final = 20
_LOOKS: Final = 40
_SLICE_S: Final = 600.0
_CATCH_UP_S: Final = 900.0

FLAT: Final = Target("ratio at most", 1.25)
QUICK_ENOUGH: Final = Target("at most", 100.0)


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    began, report = time.monotonic(), Report()
    with ExitStack() as held:
        folder = Path(tempfile.mkdtemp(prefix="ledgergrid-day-"))
        held.callback(shutil.rmtree, folder)
        about = machine.facts(folder, None)
        server = held.enter_context(postgresql(fsync=True)) if options.postgresql else None
        exchanges = proxy.write_exchanges(folder / "exchanges.jsonl")
        before = held.enter_context(proxy_subjects.upstream(exchanges, folder))
        (folder / "day").mkdir()
        subject = held.enter_context(proxy_subjects.ours(before, folder / "day", server))
        name = "day-postgresql" if server else "day-sqlite"
        report.heading(name)
        _live(subject, name, options.calls, report)
        _look(subject, name, options.calls, report)
    proxy.keep(options.calls != CALLS, about, report, round(time.monotonic() - began))
    print(f"\n{report.summary()}")
    return int(report.has_failed)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-day", description="Live through a day.")
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--postgresql", action="store_true", help="not on SQLite")
    return parser.parse_args(arguments)


def _live(subject: Subject, name: str, calls: int, report: Report) -> None:
    """Make the day's calls, a twentieth at a time; every fifth of those are streams."""
    found, memory = Measured(), list[float]()
    for number in range(_SLICES):
        kind = "stream" if number % 5 == 4 else "plain"
        result = proxy.load(
            found, subject, _CLIENTS, calls // _SLICES, _SLICE_S, kind, f"day-{number}"
        )
        memory.append(sum(map(processes.held_mb, processes.family(subject.pid))))
        rate = result["calls"] / result["seconds"]
        label = f"{(number + 1) * calls // _SLICES:,} calls, {kind}"
        report.add(Figure(name, label, rate, "calls/s", errors=found.errors))
        report.add(Figure(name, "  memory", memory[-1], "MB"))
    if found.first_error:
        print(f"  first error: {found.first_error}")
    quarter = Ceiling("after a quarter", memory[_SLICES // 4])
    report.add(Figure(name, "memory at the end", memory[-1], "MB", quarter, FLAT))
    if subject.disk_bytes is not None:
        report.add(Figure(name, "on disk", subject.disk_bytes() / 1e6, "MB"))


def _look(subject: Subject, name: str, calls: int, report: Report) -> None:
    """Measure what a person waits for, once everything written can be found."""
    sessions = calls // CALLS_PER_SESSION
    with httpx.Client(base_url=f"http://127.0.0.1:{subject.port}", timeout=60) as client:
        waited_s = _wait_for_views(client, sessions)
        report.add(Figure(name, "until all of it is listed", waited_s, "s"))
        waited_s = _wait_for_words(client, calls)
        report.add(Figure(name, "until all of it is found", waited_s, "s"))
        each = sessions // _SLICES
        for label, path in _paths(calls):
            took = [_took_ms(client, path.format(n % each)) for n in range(_LOOKS)]
            figure = percentile(took, 0.95)
            report.add(Figure(name, f"{label} p95", figure, "ms", target=QUICK_ENOUGH))


def _paths(calls: int) -> list[tuple[str, str]]:
    return [
        ("list of sessions, first page", "/api/sessions?limit=50&offset={0}"),
        ("list of sessions, middle page", f"/api/sessions?limit=5{{0}}&offset={calls // 40}"),
        ("one session", "/session/day-3-{0}"),
        ("search, a rare word", "/api/search?q=4{0}"),
        ("search, a word that is everywhere", "/api/search?q=pallet"),
    ]


def _took_ms(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    answer = client.get(path)
    answer.raise_for_status()
    return (time.perf_counter() - began) * 1000


def _wait_for_views(client: httpx.Client, sessions: int) -> float:
    return _wait(
        lambda: int(client.get("/api/sessions?limit=1").headers["x-total-count"]), sessions
    )


def _wait_for_words(client: httpx.Client, calls: int) -> float:
    """Wait until each slice's last prompt is found by the number that it begins with."""
    last = f"/api/search?q={calls // _SLICES}&limit={2 * _SLICES}"
    return _wait(lambda: len(_json(client, last)), _SLICES)


def _json(client: httpx.Client, path: str) -> Any:
    return json.loads(client.get(path).raise_for_status().content)


def _wait(count: Callable[[], int], wanted: int) -> float:
    began = time.monotonic()
    while count() < wanted:
        if time.monotonic() > began + _CATCH_UP_S:
            raise RuntimeError(f"{count()} of {wanted} after {_CATCH_UP_S:g} s")
        time.sleep(0.2)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
