"""Fills a ledger from the stock as fast as the core allows: every core admits and sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import Final

from ledger_core.errors import LedgerGridError
from ledger_core.ledger import Ledger
from tests.bench.place import Place, opened
from tests.bench.stock import LEDGER, Stock

FILL_BATCH: Final = 2_048
_TASK: Final = 50_000
"""Records one process takes at once: it opens the ledger anew for each task."""


def fill(place: Place, stock: Stock, start: int, count: int, pool: ProcessPoolExecutor) -> None:
    """Append the stock's records ``[start, start + count)``, in no particular order."""
    share = min(_TASK, max(FILL_BATCH, count // 4))
    tasks = [(at, min(share, start + count - at)) for at in range(start, start + count, share)]
    for future in [pool.submit(_fill, place, stock, at, size) for at, size in tasks]:
        future.result()


def _fill(place: Place, stock: Stock, start: int, count: int) -> None:
    with opened(place) as ledgers:
        ledger = ledgers.get(LEDGER)
        for lines in chunks(stock.lines(start, count), FILL_BATCH):
            append(ledger, lines)


def append(ledger: Ledger, lines: Sequence[bytes]) -> None:
    """Append one batch as the service does; a refusal is an error of the bench."""
    for outcome in ledger.sequence([ledger.admit(line) for line in lines]):
        if isinstance(outcome, LedgerGridError):
            raise outcome


def chunks(lines: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    while chunk := list(islice(lines, size)):
        yield chunk
