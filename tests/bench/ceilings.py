"""What this machine gives without us: signatures, flushes, commits, bare HTTP.

Measured next to the figures they bound, because the speed of shared machines drifts.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nacl import bindings

from ledger_core.formats.ed25519 import PrivateKey
from tests.bench.figures import Ceiling, percentile
from tests.support.postgresql import Server

_MESSAGES: Final = 500
_MESSAGE_BYTES: Final = 570
"""A record of the stock in its DSSE encoding."""

_VERIFY_S: Final = 1.0
_PAGE_BYTES: Final = 4096
_ROW_BYTES: Final = 900


@dataclass(frozen=True)
class VerifyRates:
    """Signatures that PyNaCl verifies per second."""

    one_core: Ceiling
    two_cores: Ceiling
    all_cores: Ceiling
    cpu_us: float
    """Processor time of one, alone on its core."""


def measure_verify_rates(pool: ProcessPoolExecutor, cores: int) -> VerifyRates:
    """Verify with one process, with two, and with one on every core."""
    done = {jobs: _verify_with(pool, jobs) for jobs in sorted({1, min(2, cores), cores})}
    rates = {jobs: sum(rate for rate, _ in each) for jobs, each in done.items()}
    return VerifyRates(
        Ceiling("PyNaCl, 1 core", rates[1]),
        Ceiling("PyNaCl, 2 cores", rates[min(2, cores)]),
        Ceiling(f"PyNaCl, {cores} cores", rates[cores]),
        cpu_us=done[1][0][1],
    )


def _verify_with(pool: ProcessPoolExecutor, jobs: int) -> list[tuple[float, float]]:
    start_at = time.time() + 0.1
    return [future.result() for future in [pool.submit(_verify, start_at) for _ in range(jobs)]]


def _verify(start_at: float) -> tuple[float, float]:
    """Verify for a while, starting with the others; return the rate, and CPU µs for each."""
    key = PrivateKey.generate()
    messages = [os.urandom(_MESSAGE_BYTES) for _ in range(_MESSAGES)]
    signed = [key.sign(message) + message for message in messages]
    time.sleep(max(0.0, start_at - time.time()))
    done, began, cpu_began = 0, time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - began) < _VERIFY_S:
        for each in signed:
            bindings.crypto_sign_open(each, key.public_key)
        done += len(signed)
    return done / took, (time.process_time() - cpu_began) / done * 1e6


def time_each(count: int, operation: Callable[[int], object]) -> list[float]:
    """Run an operation so many times; return what each took, in ms."""
    took = []
    for number in range(count):
        began = time.perf_counter()
        operation(number)
        took.append((time.perf_counter() - began) * 1000)
    return took


def measure_flush(folder: Path, count: int) -> list[float]:
    """Append a page and flush it, as a log does; latencies in ms."""
    page = os.urandom(_PAGE_BYTES)
    with (folder / "flush").open("wb", buffering=0) as file:

        def flush(_: int) -> None:
            file.write(page)
            os.fdatasync(file.fileno())

        return time_each(count, flush)


def measure_commit(folder: Path, server: Server | None, count: int) -> list[float]:
    """Commit single rows, durably, into a bare database; latencies in ms."""
    row = os.urandom(_ROW_BYTES)
    if server is not None:
        with server.connect(server.create_database()) as postgresql:
            postgresql.execute("CREATE TABLE bare (number bigint PRIMARY KEY, leaf bytea)")
            add = "INSERT INTO bare VALUES (%s, %s)"
            return time_each(count, lambda n: postgresql.execute(add, (n, row)))
    sqlite = sqlite3.connect(folder / "bare.db", isolation_level=None)
    try:
        sqlite.execute("PRAGMA journal_mode=WAL")
        sqlite.execute("PRAGMA synchronous=FULL")
        sqlite.execute("CREATE TABLE bare (number INTEGER PRIMARY KEY, leaf BLOB)")
        return time_each(
            count, lambda n: sqlite.execute("INSERT INTO bare VALUES (?, ?)", (n, row))
        )
    finally:
        sqlite.close()


def median_of(name: str, latencies_ms: list[float]) -> Ceiling:
    return Ceiling(name, percentile(latencies_ms, 0.5))
