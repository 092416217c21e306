"""Exporting a large ledger and verifying the archive offline, with the memory that takes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

from ledger_core.formats.vkey import format_vkey
from tests.bench import ceilings, filling, processes
from tests.bench.figures import Ceiling, Figure, Target
from tests.bench.place import FOUNDING, Place, found, opened
from tests.bench.run import Run
from tests.bench.stock import LEDGER

_SECTION: Final = "export and verify, sqlite"
_VERIFY: Final = Target("ratio at least", 0.9)
_FLAT: Final = Target("ratio at most", 1.2)
_LOOK_EVERY_S: Final = 0.2


def measure(run: Run) -> None:
    """Export ranges of one ledger and verify each archive."""
    run.report.heading(_SECTION)
    place = _ledger_to_export(run)
    peaks: list[tuple[int, float]] = []
    for entries in run.sizes.archives:
        archive = run.folder / f"{entries}.zip"
        policy = _export(run, place, entries, archive)
        peaks.append((entries, _verify(run, entries, archive, policy)))
        archive.unlink()
    if len(peaks) > 1 and peaks[0][1]:
        (small, before), (large, after) = peaks[0], peaks[-1]
        name = f"verifier's memory at {large:,}, all processes"
        ceiling = Ceiling(f"at {small:,}", before)
        run.report.add(Figure(_SECTION, name, after, "MB", ceiling, _FLAT))


def _ledger_to_export(run: Run) -> Place:
    """Take the ledger that growth left behind, or a new one, and fill up what it lacks."""
    place = run.grown.get("sqlite") or found("sqlite", run.folder / "archive", None, run.stock)
    with opened(place) as ledgers:
        size = ledgers.get(LEDGER).size()
    missing = max(run.sizes.archives) - size
    if missing > 0:
        filling.fill(place, run.stock, size - FOUNDING, missing, run.pool)
    return place


def _export(run: Run, place: Place, entries: int, archive: Path) -> Path:
    """Write the archive of the first so many entries; return the trust policy for it."""
    policy = run.folder / "trust.policy"
    began = time.perf_counter()
    with opened(place) as ledgers, archive.open("wb") as file:
        ledger = ledgers.get(LEDGER)
        for chunk in ledger.export(0, entries, "bench"):
            file.write(chunk)
        policy.write_text(f"log {format_vkey(ledger.log_key)}\nquorum none\n")
    took = time.perf_counter() - began
    megabytes = archive.stat().st_size / 1e6
    title = f"export of {entries:,}"
    run.report.add(Figure(_SECTION, title, entries / took, "entries/s"))
    run.report.add(
        Figure(_SECTION, f"{title}, zip of {megabytes:,.0f} MB", megabytes / took, "MB/s")
    )
    return policy


def _verify(run: Run, entries: int, archive: Path, policy: Path) -> float:
    """Verify an archive with all cores; return the processes' peak memory together, in MB."""
    verify = ceilings.measure_verify_rates(run.pool, run.cores)
    command = [sys.executable, "-m", "verifier", str(archive), "--trust", str(policy), "--json"]
    began, cpu_before_s = time.perf_counter(), _children_cpu_s()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        memory = _Memory(process.pid)
        memory.start()
        report, _ = process.communicate()
        took = time.perf_counter() - began
        memory.join()
    errors = int(process.returncode != 0 or json.loads(report)["entries_checked"] != entries)
    title, rate = f"verify {entries:,}", entries / took
    each_us = (_children_cpu_s() - cpu_before_s) / entries * 1e6
    note = f"{each_us:.0f} µs of CPU an entry; a signature alone {verify.cpu_us:.0f}"
    ceiling = verify.all_cores
    run.report.add(Figure(_SECTION, title, rate, "entries/s", ceiling, _VERIFY, errors, note))
    if memory.together_mb:
        peak = Figure(_SECTION, f"{title}, peak memory together", memory.together_mb, "MB")
        run.report.add(peak)
        largest = f"{title}, largest process"
        run.report.add(Figure(_SECTION, largest, memory.largest_mb, "MB"))
    return memory.together_mb


def _children_cpu_s() -> float:
    """Return the processor time of the processes this one started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Memory(threading.Thread):
    """Looks at what a process and its children hold, until the process ends (Linux only)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.together_mb = self.largest_mb = 0.0

    def run(self) -> None:
        while held := [processes.held_mb(each) for each in processes.family(self._pid)]:
            if not sum(held):  # Ended, but not yet waited for.
                return
            self.together_mb = max(self.together_mb, sum(held))
            self.largest_mb = max(self.largest_mb, *held)
            time.sleep(_LOOK_EVERY_S)
