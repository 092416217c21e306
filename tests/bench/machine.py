"""Facts about the machine and the code, without which a figure means nothing."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from pathlib import Path

from tests.support.postgresql import Server


def cores() -> int:
    """Return the processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def facts(folder: Path, server: Server | None) -> dict[str, str | int | float]:
    """Describe processor, memory, disk and the programs measured."""
    found: dict[str, str | int | float] = {
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": round(_memory_bytes() / 1e9),
        "system": platform.platform(),
        "file_system": _file_system(folder),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load_average": round(os.getloadavg()[0], 2),
    }
    if server is not None:
        with server.connect() as connection:
            for name in ("server_version", "fsync", "synchronous_commit", "shared_buffers"):
                row = connection.execute(f"SHOW {name}").fetchone()
                found[f"postgresql_{name}"] = str(row[0]) if row else ""
    return found


def revision() -> str:
    """Name the code measured: the commit, and whether it was changed since."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return f"{commit}+changes" if _git("status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _file_system(folder: Path) -> str:
    """Name the type of the file system: a flush to memory costs nothing and proves nothing."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    path = folder.resolve()
    holding = [mount for mount in mounts if path.is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2] if holding else "unknown"
