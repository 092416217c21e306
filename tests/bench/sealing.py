"""What sealed payloads cost: appends with them, beside the same appends with payloads in the clear.

No service can leave them in the clear; here is what it would take. Both ledgers take turns, so that
whatever else the machine does meanwhile, it does to both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ledger_core.admission import Admitted
from ledger_core.keystore.model import NoKeys
from ledger_core.ledger import Ledger
from ledger_core.payloads import Payloads, Sealer
from ledger_core.storage.store import StoredPart
from tests.bench import filling
from tests.bench.ceilings import time_each
from tests.bench.figures import Ceiling, Figure, Target, percentile
from tests.bench.place import Place, found, opened
from tests.bench.run import Run
from tests.bench.stock import LEDGER

_BATCH: Final = 100
_READS: Final = 100


class _Clear(Sealer):
    """Seals nothing."""

    def seal(self, each: Admitted) -> dict[str, StoredPart]:
        return {name: StoredPart(p.salt, p.data, None) for name, p in each.parts.items()}


class _InTheClear(Payloads):
    """Payloads as they would be without a key store."""

    def sealing(self, batch: Sequence[Admitted]) -> Sealer:
        return _Clear(self._supply, [], {}, {})


@dataclass(frozen=True)
class _Took:
    """What appending took: ms a request as they came, and processor time a record in µs."""

    each_ms: list[float]
    cpu_us: float


def measure(run: Run, store: str) -> None:
    """Measure in process, one thread, the way the service appends."""
    section = f"payload encryption, {store}"
    run.report.heading(section)
    folder, server = run.folder, run.server_of(store)
    sealed = found(store, folder / f"sealed-{store}", server, run.stock)
    clear = found(store, folder / f"clear-{store}", server, run.stock)
    with _opened(sealed) as one, _opened(clear, is_clear=True) as other:
        singles = list(run.stock.lines(0, run.sizes.by_one_client))
        in_turn = _append_in_turn(one, other, [[line] for line in singles])
        _report(run, section, "one record", 1, in_turn, 0.9)
        lines = run.stock.lines(len(singles), run.sizes.endorsed)
        in_turn = _append_in_turn(one, other, list(filling.chunks(lines, _BATCH)))
        _report(run, section, f"{_BATCH} records", _BATCH, in_turn, 0.85)
        medians = [percentile(time_each(_READS, _reading(each)), 0.5) for each in (one, other)]
    name = f"{_BATCH} entries read with payloads, p50"
    run.report.add(Figure(section, name, medians[0], "ms", Ceiling("in the clear", medians[1])))


@contextmanager
def _opened(place: Place, *, is_clear: bool = False) -> Iterator[Ledger]:
    with opened(place) as ledgers:
        if is_clear:
            ledgers.payloads = _InTheClear(NoKeys())
        yield ledgers.get(LEDGER)


def _append_in_turn(
    one: Ledger, other: Ledger, batches: Sequence[list[bytes]]
) -> tuple[_Took, _Took]:
    took: tuple[list[float], list[float]] = ([], [])
    cpu_s = [0.0, 0.0]
    for batch in batches:
        for which, ledger in enumerate((one, other)):
            began_s, cpu_began_s = time.perf_counter(), time.process_time()
            filling.append(ledger, batch)
            cpu_s[which] += time.process_time() - cpu_began_s
            took[which].append((time.perf_counter() - began_s) * 1000)
    records = sum(map(len, batches))
    return _Took(took[0], cpu_s[0] / records * 1e6), _Took(took[1], cpu_s[1] / records * 1e6)


def _report(
    run: Run, section: str, what: str, size: int, took: tuple[_Took, _Took], bound: float
) -> None:
    sealed, clear = took
    rates = [size * len(each.each_ms) / sum(each.each_ms) * 1000 for each in took]
    note = f"p50 {percentile(sealed.each_ms, 0.5):.2f} ms, in the clear "
    note += f"{percentile(clear.each_ms, 0.5):.2f}"
    ceiling, target = Ceiling("in the clear", rates[1]), Target("ratio at least", bound)
    name = f"{what} at a time"
    run.report.add(Figure(section, name, rates[0], "rec/s", ceiling, target, note=note))
    ceiling = Ceiling("in the clear", clear.cpu_us)
    run.report.add(Figure(section, f"{name}, processor time", sealed.cpu_us, "µs/rec", ceiling))


def _reading(ledger: Ledger) -> Callable[[int], object]:
    """Return what reads a page of entries, each time another one."""
    size = ledger.size()

    def read(number: int) -> None:
        start = number * 37 % (size - _BATCH)
        if len(ledger.entries(range(start, start + _BATCH))) != _BATCH:
            raise ValueError("entries are missing")

    return read
