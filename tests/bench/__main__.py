"""``make bench``: measure, and show every figure beside its ceiling and its target.

    python -m tests.bench [--quick] [--largest N] [--only NAME]

Everything lives in a temporary folder and is gone afterwards; one line of JSON with all figures
is added to build/bench.jsonl. docs/reference/performance.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.bench import (
    capturing,
    consensus,
    effects,
    erasing,
    growth,
    machine,
    sealing,
    service,
    verifying,
)
from tests.bench.figures import Report
from tests.bench.run import FULL, QUICK, STORES, Run, Sizes
from tests.bench.stock import make_stock
from tests.support.postgresql import postgresql

RESULTS: Final = Path("build/bench.jsonl")
_NEEDED_GB: Final = {False: 12, True: 2}

SECTIONS: Final[dict[str, Callable[[Run], None]]] = {
    "service-sqlite-1": lambda run: service.measure(run, "sqlite", 1),
    "service-sqlite-2": lambda run: service.measure(run, "sqlite", 2),
    "service-postgresql-1": lambda run: service.measure(run, "postgresql", 1),
    "service-postgresql-2": lambda run: service.measure(run, "postgresql", 2),
    "consensus-sqlite": lambda run: consensus.measure(run, "sqlite"),
    "consensus-postgresql": lambda run: consensus.measure(run, "postgresql"),
    "sealing-sqlite": lambda run: sealing.measure(run, "sqlite"),
    "sealing-postgresql": lambda run: sealing.measure(run, "postgresql"),
    "capture-sqlite": lambda run: capturing.measure(run, "sqlite"),
    "capture-postgresql": lambda run: capturing.measure(run, "postgresql"),
    "growth-postgresql": lambda run: growth.measure(run, "postgresql"),
    "growth-sqlite": lambda run: growth.measure(run, "sqlite"),
    "verify": verifying.measure,
    # Behind the verifier, whose archives are of ledgers in which nothing was changed.
    "effects-sqlite": lambda run: effects.measure(run, "sqlite"),
    "effects-postgresql": lambda run: effects.measure(run, "postgresql"),
    "erasure-sqlite": lambda run: erasing.measure(run, "sqlite"),
    "erasure-postgresql": lambda run: erasing.measure(run, "postgresql"),
}


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    chosen = [name for name in SECTIONS if name.startswith(tuple(options.only or ("",)))]
    sizes = (QUICK if options.quick else FULL).up_to(options.largest)
    if free_gb() < _NEEDED_GB[options.quick]:
        print(f"a run needs {_NEEDED_GB[options.quick]} GB in {tempfile.gettempdir()}")
        return 1
    began = time.monotonic()
    with preparing(sizes, any(STORES[1] in name for name in chosen)) as run:
        about = machine.facts(run.folder, run.server)
        print("\n".join(f"{name:<28} {value}" for name, value in about.items()))
        try:
            for name in chosen:
                SECTIONS[name](run)
        finally:
            took_s = round(time.monotonic() - began)
            _keep({"quick": options.quick, "sections": chosen, "took_s": took_s}, about, run)
    print(f"\n{run.report.summary()}\n{took_s} s; added to {RESULTS}")
    return int(run.report.has_failed)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure LedgerGrid.")
    parser.add_argument("--quick", action="store_true", help="small sizes, in a minute or two")
    parser.add_argument(
        "--largest",
        type=int,
        default=1_000_000,
        metavar="N",
        help="let ledgers grow to at most so many entries, at least 1000 (a million)",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help=f"sections whose names begin so; may be repeated: {', '.join(SECTIONS)}",
    )
    options = parser.parse_args(arguments)
    if options.largest < 1_000:
        parser.error("--largest is at least 1000")
    for name in options.only or ():
        if not any(section.startswith(name) for section in SECTIONS):
            parser.error(f"no section begins with {name}: {', '.join(SECTIONS)}")
    return options


@contextmanager
def preparing(sizes: Sizes, needs_postgresql: bool) -> Iterator[Run]:
    """Make folder, processes, PostgreSQL and stock; clear everything away at the end."""
    with ExitStack() as held:
        folder = Path(tempfile.mkdtemp(prefix="ledgergrid-bench-"))
        held.callback(shutil.rmtree, folder)
        server = held.enter_context(postgresql(fsync=True)) if needs_postgresql else None
        cores = machine.cores()
        context = multiprocessing.get_context("spawn")
        pool = held.enter_context(ProcessPoolExecutor(max(2, cores), context))
        print(f"sealing {sizes.stock:,} records …", flush=True)
        stock = make_stock(folder / "stock", sizes.stock, pool)
        print(f"{stock.bytes_each:.0f} bytes each, payload included\n", flush=True)
        yield Run(sizes, folder, stock, pool, cores, Report(), server)


def free_gb() -> float:
    return shutil.disk_usage(tempfile.gettempdir()).free / 1e9


def _keep(options: dict[str, Any], about: dict[str, str | int | float], run: Run) -> None:
    """Add the run to the file of results, as one line."""
    line = {
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "revision": machine.revision(),
        "machine": about,
        **options,
        "record_and_payload_bytes": round(run.stock.bytes_each),
        "figures": [figure.to_json() for figure in run.report.figures],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
