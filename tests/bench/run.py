"""What every section of a run needs: sizes, the stock, processes, the report."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tests.bench.figures import Report
from tests.bench.place import Place
from tests.bench.stock import Stock
from tests.support.postgresql import Server

STORES: Final = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Sizes:
    """How much a run does."""

    one_by_one: int
    in_batches: int
    by_one_client: int
    endorsed: int
    growth: Sequence[int]
    proofs: int
    archives: Sequence[int]

    def up_to(self, largest: int) -> Sizes:
        """Return these sizes, with ledgers no larger than so many entries."""
        growth = [size for size in self.growth if size <= largest]
        archives = [min(size, largest) for size in self.archives]
        if archives[0] == archives[-1]:
            archives = [largest // 10, largest]
        return replace(self, growth=growth, archives=archives)

    @property
    def stock(self) -> int:
        served = self.one_by_one + self.in_batches + self.by_one_client + 1_000
        return max(served, *self.growth, *self.archives)


FULL: Final = Sizes(
    one_by_one=30_000,
    in_batches=80_000,
    by_one_client=1_000,
    endorsed=4_000,
    growth=(1_000, 10_000, 100_000, 1_000_000),
    proofs=2_000,
    archives=(100_000, 1_000_000),
)
QUICK: Final = Sizes(
    one_by_one=5_000,
    in_batches=15_000,
    by_one_client=200,
    endorsed=500,
    growth=(1_000, 10_000),
    proofs=300,
    archives=(10_000, 20_000),
)


@dataclass
class Run:
    """One run: what it has to work with, and what it has made so far."""

    sizes: Sizes
    folder: Path
    stock: Stock
    pool: ProcessPoolExecutor
    cores: int
    report: Report
    server: Server | None
    """PostgreSQL, if any section of this run needs it."""

    grown: dict[str, Place] = field(default_factory=dict)
    """Ledgers that growth left behind, by store."""

    def server_of(self, store: str) -> Server | None:
        return self.server if store == "postgresql" else None
