"""Figures of the running service: records one by one and in batches, rates and latencies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import ceilings, load, processes
from tests.bench.ceilings import VerifyRates
from tests.bench.figures import Ceiling, Figure, Target, percentile
from tests.bench.place import Serving, found, serving, serving_bare
from tests.bench.run import Run
from tests.bench.stock import LEDGER

ONE: Final = f"/api/v1/ledgers/{LEDGER}/records"
BATCH: Final = f"/api/v1/ledgers/{LEDGER}/records:batch"
BATCH_RECORDS: Final = 100
CLIENTS: Final = 64
BATCH_CLIENTS: Final = 16
LONGEST_S: Final = 60.0
_WARM_UP: Final = 500
_FLUSHES: Final = 300

_ONE_BY_ONE: Final = {1: Target("ratio at least", 0.30), 2: Target("ratio at least", 0.55)}
_IN_BATCHES: Final = {1: Target("ratio at least", 0.90), 2: Target("ratio at least", 0.60)}
_LONE: Final = Target("excess at most", 2.0)


@dataclass(frozen=True)
class Load:
    """What the load generator measured; latencies in ms, of whole requests."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int
    first_error: str
    cpu_share: float
    service_cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def describe_costs(self, records_each: int = 1) -> str:
        """Say what a record cost the service, and how far the load generator was from its end."""
        each_us = self.service_cpu_s / (self.requests * records_each) * 1e6
        return f"{each_us:.0f} µs of CPU a record; load generator {self.cpu_share:.0%} of a core"


def drive(served: Serving, file: Path, clients: int, lines: int = 0) -> Load:
    """Run the load generator in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.load", str(served.port), str(file)]
    command += [str(clients), str(LONGEST_S), str(lines)]
    before_s = processes.cpu_s(served.pid)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=LONGEST_S * 3)
    used_s = processes.cpu_s(served.pid) - before_s
    measured = Load(**json.loads(done.stdout), service_cpu_s=used_s)
    if measured.first_error:
        said = "\n".join([measured.first_error, *served.logged_errors()])
        print(f"  the service answered: {said}", file=sys.stderr)
    return measured


@dataclass(frozen=True)
class _Around:
    """The ceilings of one service section."""

    bare: Ceiling
    verify: VerifyRates
    flush: Ceiling


def measure(run: Run, store: str, workers: int) -> None:
    """Start a fresh service and measure it."""
    section = f"service, {store}, {workers} worker{'s' if workers > 1 else ''}"
    run.report.heading(section)
    folder = run.folder / f"service-{store}-{workers}"
    server = run.server_of(store)
    place = found(store, folder, server, run.stock)
    requests = _prepare(run, folder)
    around = _measure_around(run, section, store, folder, requests)
    with serving(place, workers) as served:
        drive(served, requests["warm-up"], CLIENTS)
        lone = drive(served, requests["lone"], 1)
        single = drive(served, requests["single"], CLIENTS)
        batches = drive(served, requests["batches"], BATCH_CLIENTS, BATCH_RECORDS)
    _report_single(run, section, workers, single, around)
    _report_batches(run, section, workers, batches, around)
    _report_lone(run, section, lone, around)
    for file in requests.values():
        file.unlink()


def _prepare(run: Run, folder: Path) -> dict[str, Path]:
    """Encode every request before anything is timed."""
    sizes, at = run.sizes, 0
    wanted = {
        "warm-up": (_WARM_UP, ONE),
        "lone": (sizes.by_one_client, ONE),
        "single": (sizes.one_by_one, ONE),
        "batches": (sizes.in_batches, BATCH),
    }
    files = {}
    for name, (count, target) in wanted.items():
        bodies: Iterator[bytes] = run.stock.lines(at, count)
        if target == BATCH:
            bodies = load.batches(bodies, BATCH_RECORDS)
        files[name] = folder / f"{name}.requests"
        load.write_requests(files[name], target, bodies)
        at += count
    return files


def _measure_around(
    run: Run, section: str, store: str, folder: Path, requests: dict[str, Path]
) -> _Around:
    with serving_bare(folder) as served:
        drive(served, requests["warm-up"], CLIENTS)
        bare = drive(served, requests["single"], CLIENTS)
    flushes = ceilings.measure_flush(folder, _FLUSHES)
    commits = ceilings.measure_commit(folder, run.server_of(store), _FLUSHES)
    around = _Around(
        Ceiling("bare uvicorn", bare.rate),
        ceilings.measure_verify_rates(run.pool, run.cores),
        ceilings.median_of("bare flush", flushes),
    )
    busy = bare.describe_costs()
    signature = f"{around.verify.cpu_us:.0f} µs of CPU each"
    for name, value, unit, note in (
        ("ceiling: bare uvicorn, one process", bare.rate, "req/s", busy),
        ("ceiling: PyNaCl verifies, one core", around.verify.one_core.value, "sig/s", signature),
        ("ceiling: PyNaCl verifies, two cores", around.verify.two_cores.value, "sig/s", ""),
        ("ceiling: flush of a page, p50", around.flush.value, "ms", ""),
        ("ceiling: flush of a page, p99", percentile(flushes, 0.99), "ms", ""),
        (f"ceiling: {store} commits one row, p50", percentile(commits, 0.5), "ms", ""),
    ):
        run.report.add(Figure(section, name, value, unit, errors=bare.errors, note=note))
    return around


def _report_single(run: Run, section: str, workers: int, done: Load, around: _Around) -> None:
    add, errors = run.report.add, done.errors
    note = done.describe_costs()
    name = f"one record a request, {CLIENTS} clients"
    target = _ONE_BY_ONE.get(workers)
    add(Figure(section, name, done.rate, "rec/s", around.bare, target, errors, note))
    add(Figure(section, f"{name}, p50", done.p50_ms, "ms", around.flush, None, errors))
    add(Figure(section, f"{name}, p99", done.p99_ms, "ms", around.flush, None, errors))


def _report_batches(run: Run, section: str, workers: int, done: Load, around: _Around) -> None:
    add, errors = run.report.add, done.errors
    verify = around.verify.one_core if workers == 1 else around.verify.two_cores
    name = f"batches of {BATCH_RECORDS}, {BATCH_CLIENTS} clients"
    rate, note = done.rate * BATCH_RECORDS, done.describe_costs(BATCH_RECORDS)
    add(Figure(section, name, rate, "rec/s", verify, _IN_BATCHES.get(workers), errors, note))
    add(Figure(section, f"{name}, p50 of a batch", done.p50_ms, "ms", errors=errors))
    add(Figure(section, f"{name}, p99 of a batch", done.p99_ms, "ms", errors=errors))


def _report_lone(run: Run, section: str, done: Load, around: _Around) -> None:
    add, errors = run.report.add, done.errors
    name = "one record a request, one client"
    add(Figure(section, f"{name}, p50", done.p50_ms, "ms", around.flush, _LONE, errors))
    add(Figure(section, f"{name}, p99", done.p99_ms, "ms", around.flush, None, errors))
