"""What processes use, as Linux tells it under /proc; nothing elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def family(pid: int) -> Iterator[Path]:
    """Yield the /proc folders of a process and its descendants, while they live."""
    process = Path(f"/proc/{pid}")
    try:
        children = (process / "task" / str(pid) / "children").read_text().split()
    except OSError:  # It has ended, or there is no /proc.
        return
    yield process
    for child in children:
        yield from family(int(child))


def cpu_s(pid: int) -> float:
    """Return the processor time a process and its living descendants have used, in seconds."""
    return sum(map(_cpu_s, family(pid)))


def _cpu_s(process: Path) -> float:
    try:
        stat = (process / "stat").read_text()
    except OSError:  # It has ended.
        return 0.0
    # The name, in brackets, may hold anything; utime and stime are the 12th and 13th after it.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def held_mb(process: Path) -> float:
    """Return the memory a process holds, in MB; of pages it shares, its share (PSS)."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:  # It has ended.
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("Pss:")), 0.0)
