"""``make bench-proxy``: what a call costs on its way through, beside what it costs elsewhere.

    python -m tests.bench.proxy [--quick] [--only NAME]

In one run, on one machine, before one upstream that answers at once: no proxy at all, a bare
pass-through, LedgerGrid on SQLite, with one worker and with two, and on PostgreSQL, and
agentic-ledger from its package.
docs/reference/performance.md says what the figures mean; one line of JSON is added to
build/bench.jsonl.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from api.demo.exchanges import body_bytes
from tests.bench import machine, processes, proxy_subjects
from tests.bench.figures import Ceiling, Figure, Report, Target
from tests.bench.proxy_load import MODEL, PATH, sentence
from tests.bench.proxy_subjects import Subject, Upstream
from tests.support.postgresql import Server, postgresql

RESULTS: Final = Path("build/bench.jsonl")
CLIENTS: Final = (1, 32, 128)
TURNS: Final = 100
_PAUSE_MS: Final = 2.0
_WARM_UP: Final = 200
_SETTLE_S: Final = 1.0

FASTER: Final = Target("ratio at least", 8.0)
ADDED_P50: Final = Target("excess at most", 2.0)
ADDED_FIRST: Final = Target("excess at most", 1.0)

Start = Callable[[Upstream, Path], AbstractContextManager[Subject]]


@dataclass(frozen=True)
class Sizes:
    """How long and how much is measured."""

    seconds: float
    calls: int
    streams: int


FULL: Final = Sizes(seconds=10, calls=30_000, streams=300)
QUICK: Final = Sizes(seconds=3, calls=6_000, streams=60)


@dataclass
class Measured:
    """What one subject showed: by number of clients, and once."""

    loads: dict[int, dict[str, Any]] = field(default_factory=dict)
    first_ms: float = 0.0
    cpu_ms: float = 0.0
    held_mb: float = 0.0
    call_bytes: float | None = None
    talk_bytes: float | None = None
    sent_talk_bytes: int = 0
    errors: int = 0
    first_error: str = ""


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    sizes = QUICK if options.quick else FULL
    began = time.monotonic()
    report = Report()
    with ExitStack() as held:
        folder = Path(tempfile.mkdtemp(prefix="ledgergrid-bench-"))
        held.callback(shutil.rmtree, folder)
        subjects = {n: s for n, s in _subjects(held).items() if n in (options.only or [n])}
        about = machine.facts(folder, None)
        print("\n".join(f"{name:<28} {value}" for name, value in about.items()))
        exchanges = write_exchanges(folder / "exchanges.jsonl")
        quick = held.enter_context(proxy_subjects.upstream(exchanges, folder))
        slow = held.enter_context(proxy_subjects.upstream(exchanges, folder, pause_ms=_PAUSE_MS))
        found: dict[str, Measured] = {}
        for name, start in subjects.items():
            print(f"\nmeasuring {name} …", flush=True)
            found[name] = measure(start, folder / name, quick, slow, sizes)
        tell(found, report)
    took_s = round(time.monotonic() - began)
    keep(options.quick, about, report, took_s)
    print(f"\n{report.summary()}\n{took_s} s; added to {RESULTS}")
    return int(report.has_failed)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-proxy", description="Measure the proxy.")
    parser.add_argument("--quick", action="store_true", help="shorter, and less certain")
    parser.add_argument("--only", action="append", metavar="NAME", help="may be repeated")
    return parser.parse_args(arguments)


def _subjects(held: ExitStack) -> dict[str, Start]:
    server: list[Server] = []

    @contextmanager
    def ours_on_postgresql(before: Upstream, folder: Path) -> Iterator[Subject]:
        if not server:
            server.append(held.enter_context(postgresql(fsync=True)))
        with proxy_subjects.ours(before, folder, server[0]) as subject:
            yield subject

    found: dict[str, Start] = {
        "direct": proxy_subjects.direct,
        "bare": proxy_subjects.bare,
        "ledgergrid-sqlite": partial(proxy_subjects.ours, server=None),
        "ledgergrid-sqlite-2": partial(proxy_subjects.ours, server=None, WORKERS="2"),
        "ledgergrid-postgresql": ours_on_postgresql,
    }
    if proxy_subjects.has_peer():
        found[proxy_subjects.PEER] = proxy_subjects.theirs
    return found


# --- what the upstream says ----------------------------------------------------------


def write_exchanges(path: Path) -> Path:
    """Write the two answers that everybody gets: one whole, one as a stream of forty pieces."""
    said = sentence(1, 160)
    usage = {"prompt_tokens": 240, "completion_tokens": 200, "total_tokens": 440}
    head = {"id": "chatcmpl-bench", "created": 1_795_000_000, "model": f"{MODEL}-2025-08-07"}
    message = {"role": "assistant", "content": said}
    plain = {
        **head,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }
    words = said.split(" ")
    pieces = [" ".join(words[at : at + 4]) + " " for at in range(0, len(words), 4)]
    chunk = {**head, "object": "chat.completion.chunk"}
    chunks: list[dict[str, Any]] = [
        {**chunk, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
        for piece in pieces
    ]
    chunks.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({**chunk, "choices": [], "usage": usage})
    stream = b"".join(b"data: " + body_bytes(each) + b"\n\n" for each in chunks)
    lines = [
        _exchange("plain", {"model": MODEL}, "application/json", plain),
        _exchange(
            "stream",
            {"model": MODEL, "stream": True},
            "text/event-stream; charset=utf-8",
            (stream + b"data: [DONE]\n\n").decode(),
        ),
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _exchange(case: str, request: object, media_type: str, response: object) -> dict[str, Any]:
    return {
        "case": case,
        "host": "127.0.0.1",
        "method": "POST",
        "path": PATH,
        "request": request,
        "status": 200,
        "content_type": media_type,
        "response": response,
    }


# --- measuring -----------------------------------------------------------------------


def measure(start: Start, folder: Path, quick: Upstream, slow: Upstream, sizes: Sizes) -> Measured:
    found = Measured()
    folder.mkdir()
    # A service of its own for each: files that shrink later would hide what a conversation takes.
    for part, before in (("calls", quick), ("streams", slow), ("talk", quick)):
        (folder / part).mkdir()
        with start(before, folder / part) as subject:
            load(found, subject, 8, _WARM_UP, sizes.seconds, "plain", "warm")
            if part == "calls":
                _measure_calls(found, subject, sizes)
            elif part == "talk":
                _measure_talk(found, subject)
            else:
                streams = load(found, subject, 1, sizes.streams, 60, "stream", "stream")
                found.first_ms = streams["first_p50_ms"]
    return found


def _measure_calls(found: Measured, subject: Subject, sizes: Sizes) -> None:
    for clients in CLIENTS:
        disk, cpu_s = _disk(subject), processes.cpu_s(subject.pid) if subject.pid else 0.0
        result = load(
            found, subject, clients, sizes.calls, sizes.seconds, "plain", f"run-{clients}"
        )
        found.loads[clients] = result
        if clients == 32 and subject.pid:
            found.cpu_ms = (processes.cpu_s(subject.pid) - cpu_s) * 1000 / result["calls"]
            found.held_mb = sum(map(processes.held_mb, processes.family(subject.pid)))
            if disk is not None:
                found.call_bytes = ((_disk(subject) or 0) - disk) / result["calls"]


def _measure_talk(found: Measured, subject: Subject) -> None:
    disk = _disk(subject)
    talk = load(found, subject, 1, TURNS, 60, "talk", "talk")
    found.sent_talk_bytes = talk["sent_bytes"]
    if disk is not None:
        found.talk_bytes = (_disk(subject) or 0) - disk


def _disk(subject: Subject) -> int | None:
    """Return what is on disk once whoever writes late has written."""
    if subject.disk_bytes is None:
        return None
    time.sleep(_SETTLE_S)
    return subject.disk_bytes()


def load(
    found: Measured,
    subject: Subject,
    clients: int,
    calls: int,
    seconds: float,
    kind: str,
    name: str,
) -> dict[str, Any]:
    words = [subject.port, clients, calls, seconds, kind, name]
    command = [sys.executable, "-m", "tests.bench.proxy_load", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{kind} with {clients} clients: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    found.errors += result["errors"]
    found.first_error = found.first_error or result["first_error"]
    return result


# --- telling -------------------------------------------------------------------------


def tell(found: dict[str, Measured], report: Report) -> None:
    """Print the figures of each, beside those that they are held to."""
    for name, measured in found.items():
        report.heading(name)
        if measured.first_error:
            print(f"  first error: {measured.first_error}")
        for figure in _figures(name, measured, found):
            report.add(figure)


def _figures(name: str, of: Measured, found: dict[str, Measured]) -> Iterator[Figure]:
    direct, peer = found.get("direct"), found.get(proxy_subjects.PEER)
    is_ours, is_target = name.startswith("ledgergrid"), name == "ledgergrid-sqlite"
    for clients, load in of.loads.items():
        rate = load["calls"] / load["seconds"]
        beside = peer.loads[clients] if peer and is_ours else None
        than = Ceiling(proxy_subjects.PEER, beside["calls"] / beside["seconds"]) if beside else None
        target = FASTER if is_target and clients == 32 and than else None
        yield Figure(name, f"{clients} clients", rate, "calls/s", than, target, of.errors)
        at_p50 = Ceiling("direct", direct.loads[clients]["p50_ms"]) if direct else None
        at_p99 = Ceiling("direct", direct.loads[clients]["p99_ms"]) if direct else None
        added = ADDED_P50 if is_target and clients == 1 and at_p50 else None
        yield Figure(name, f"{clients} clients p50", load["p50_ms"], "ms", at_p50, added, of.errors)
        yield Figure(name, f"{clients} clients p99", load["p99_ms"], "ms", at_p99, None, of.errors)
    first = Ceiling("direct", direct.first_ms) if direct else None
    target = ADDED_FIRST if is_target and first else None
    yield Figure(name, "time to first token", of.first_ms, "ms", first, target, of.errors)
    yield from _costs(name, of)


def _costs(name: str, of: Measured) -> Iterator[Figure]:
    if of.cpu_ms:
        yield Figure(name, "processor time a call", of.cpu_ms, "ms")
        yield Figure(name, "memory", of.held_mb, "MB")
    if of.call_bytes is not None:
        yield Figure(name, "on disk, a call", of.call_bytes / 1e3, "kB")
    if of.talk_bytes is not None:
        sent = Ceiling("sent", of.sent_talk_bytes / 1e3)
        yield Figure(name, f"on disk, {TURNS} turns", of.talk_bytes / 1e3, "kB", sent)


def keep(quick: bool, about: dict[str, Any], report: Report, took_s: int) -> None:
    """Add the run to the file of results, as one line."""
    line = {
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "revision": machine.revision(),
        "machine": about,
        "bench": "proxy",
        "quick": quick,
        "took_s": took_s,
        "figures": [figure.to_json() for figure in report.figures],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
