"""How a ledger behaves as it grows: appends, proofs, bytes on disk, views."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ledger_core.ledger import Ledger
from tests.bench import ceilings, filling
from tests.bench.figures import Ceiling, Figure, Target, percentile
from tests.bench.place import FOUNDING, Place, found, opened
from tests.bench.run import Run
from tests.bench.stock import LEDGER
from tests.support.postgresql import Server

_BATCH: Final = 100
_MOST_BATCHES: Final = 60
_FILL_SHOWN: Final = 20_000
"""Filling fewer says more about starting processes than about filling."""

_PROOF_MS: Final = {"sqlite": 1.0, "postgresql": 2.0}
_STORAGE: Final = Target("ratio at most", 2.2)
_FLAT: Final = Target("ratio at most", 2.0)
"""Ten times the entries make a proof a sixth longer; a cost growing with size would be tenfold."""


def measure(run: Run, store: str) -> None:
    """Let a ledger grow to each size in turn, and measure at each."""
    section = f"growth, {store}"
    run.report.heading(section)
    place = found(store, run.folder / f"growth-{store}", run.server_of(store), run.stock)
    size, proofs = FOUNDING, []
    for wanted in run.sizes.growth:
        batches = min(_MOST_BATCHES, (wanted - size) // _BATCH)
        to_fill = wanted - size - batches * _BATCH
        _fill(run, section, place, size - FOUNDING, to_fill)
        _append(run, section, place, wanted, batches)
        proofs.append(_prove(run, section, place, wanted))
        size = wanted
    if len(proofs) > 1:
        small, large = run.sizes.growth[-2:]
        name = f"inclusion p50 at {large:,}"
        ceiling = Ceiling(f"at {small:,}", proofs[-2])
        run.report.add(Figure(section, name, proofs[-1], "ms", ceiling, _FLAT))
    _fill_views(run, section, place, size)
    _weigh(run, section, place, size)
    run.grown[store] = place


def _fill(run: Run, section: str, place: Place, start: int, count: int) -> None:
    if count <= 0:
        return
    began = time.perf_counter()
    filling.fill(place, run.stock, start, count, run.pool)
    rate = count / (time.perf_counter() - began)
    if count < _FILL_SHOWN:
        return
    name = f"filled with {count:,} in batches of {filling.FILL_BATCH:,}"
    run.report.add(Figure(section, name, rate, "rec/s", note=f"{run.cores} processes"))


def _append(run: Run, section: str, place: Place, size: int, batches: int) -> None:
    """Append in this process, the way the service does, until the ledger has ``size``."""
    start = size - FOUNDING - batches * _BATCH
    lines = filling.chunks(run.stock.lines(start, batches * _BATCH), _BATCH)
    with opened(place) as ledgers:
        ledger = ledgers.get(LEDGER)
        filling.append(ledger, next(lines))  # Reads the right edge, which is there from then on.
        began = time.perf_counter()
        for chunk in lines:
            filling.append(ledger, chunk)
        rate = (batches - 1) * _BATCH / (time.perf_counter() - began)
        if ledger.size() != size:
            raise ValueError(f"the ledger has {ledger.size()} entries, not {size}")
    name = f"at {size:,}: batches of {_BATCH}, one after another"
    run.report.add(Figure(section, name, rate, "rec/s", note="in process, one thread"))


def _prove(run: Run, section: str, place: Place, size: int) -> float:
    """Measure proofs of random entries and sizes by a process that has read no tile yet."""
    chance = random.Random(size)
    indexes = [chance.randrange(size) for _ in range(run.sizes.proofs)]
    sizes = [chance.randrange(1, size) for _ in range(run.sizes.proofs)]

    def inclusion(ledger: Ledger) -> Callable[[int], object]:
        return lambda n: ledger.prove_inclusion(indexes[n], size)

    def consistency(ledger: Ledger) -> Callable[[int], object]:
        return lambda n: ledger.prove_consistency(sizes[n], size)

    medians = []
    for name, prove in (("inclusion", inclusion), ("consistency", consistency)):
        with opened(place) as ledgers:
            ledger = ledgers.get(LEDGER)
            took = ceilings.time_each(run.sizes.proofs, prove(ledger))
        target = Target("at most", _PROOF_MS[place.store])
        p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
        title = f"at {size:,}: {name} proof"
        run.report.add(Figure(section, f"{title}, p50", p50, "ms", target=target))
        run.report.add(Figure(section, f"{title}, p99", p99, "ms"))
        medians.append(p50)
    return medians[0]


def _fill_views(run: Run, section: str, place: Place, size: int) -> None:
    began = time.perf_counter()
    with opened(place) as ledgers:
        ledgers.follower.catch_up()
        if ledgers.views.all_progress() != {1: size}:
            raise ValueError("the views are not as far as the log")
    rate = size / (time.perf_counter() - began)
    run.report.add(Figure(section, f"views of {size:,} entries filled", rate, "rec/s"))


def _weigh(run: Run, section: str, place: Place, size: int) -> None:
    """Compare bytes on disk with the bytes of records and payloads."""
    server = run.server_of(place.store)
    truth, views = _weigh_postgresql(server, place) if server else _weigh_sqlite(place)
    carried = Ceiling("records + payloads", run.stock.bytes_each * size / 1e6)
    add = run.report.add
    name = f"at {size:,}: ground truth on disk"
    add(Figure(section, name, truth / 1e6, "MB", carried, _STORAGE))
    add(Figure(section, f"at {size:,}: views on disk", views / 1e6, "MB", carried))


def _weigh_sqlite(place: Place) -> tuple[int, int]:
    sizes = []
    for name in ("ledger.db", "ledger.views.db"):
        connection = sqlite3.connect(place.folder / name)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        sizes.append(_bytes_of(place.folder, name))
    return sizes[0], sizes[1]


def _bytes_of(folder: Path, name: str) -> int:
    """Return the bytes of a database with its write-ahead log."""
    return sum(file.stat().st_size for file in folder.glob(f"{name}*"))


def _weigh_postgresql(server: Server, place: Place) -> tuple[int, int]:
    """Return the bytes of all tables with their indexes, by schema."""
    query = (
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname = %s"
    )
    sizes = []
    with server.connect(place.database) as connection:
        for schema in ("public", "ledgergrid_views"):
            row = connection.execute(query, (schema,)).fetchone()
            sizes.append(int(row[0]) if row else 0)
    return sizes[0], sizes[1]
