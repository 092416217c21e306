"""Erasing many parts: keys, ciphertext, views and their files, beside plainly deleting rows."""

from __future__ import annotations

import time
from typing import Final

import msgspec
from sqlalchemy import text

from ledger_core import ids
from ledger_core.ledgers import Ledgers
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.targets import Parts
from ledger_core.records.types.erasure import Erasure
from ledger_core.records.types.mutability import MutabilityChange
from tests.bench import filling
from tests.bench.figures import Ceiling, Figure
from tests.bench.place import FOUNDING, found, opened
from tests.bench.run import Run
from tests.bench.stock import LEDGER

_SIZE: Final = 20_000
_PARTS: Final = 10_000


def measure(run: Run, store: str) -> None:
    """Erase half of a ledger by one order; delete as many rows of a copy of the table."""
    section = f"erasure, {store}"
    run.report.heading(section)
    size = min(_SIZE, run.sizes.stock)
    parts = min(_PARTS, size // 2)
    place = found(store, run.folder / f"erasing-{store}", run.server_of(store), run.stock)
    filling.fill(place, run.stock, 0, size - FOUNDING, run.pool)
    with opened(place) as ledgers:
        ledgers.views.ensure()
        ledgers.follower.catch_up()
        ceiling = Ceiling("plain DELETE", parts / _delete(ledgers, parts))
        ordered_s = _order(ledgers, parts)
        run.report.add(Figure(section, f"order of {parts:,} parts", ordered_s, "s"))
        began = time.monotonic()
        failure = ledgers.eraser.erase_due()
        took_s = time.monotonic() - began
        errors = int(failure is not None or ledgers.eraser.find_undone() is not None)
        name = f"{parts:,} parts of {size:,}, keys to files"
        rate = Figure(section, name, parts / took_s, "parts/s", ceiling, errors=errors)
        run.report.add(rate)


def _delete(ledgers: Ledgers, count: int) -> float:
    """Return how many seconds it takes to delete as many rows of a copy, and to commit."""
    with ledgers.get(LEDGER)._database.write() as tx:
        tx.execute(text("CREATE TABLE plain AS SELECT * FROM payloads"))
        tx.execute(text('CREATE INDEX plain_by_index ON plain ("index")'))
    began = time.monotonic()
    with ledgers.get(LEDGER)._database.write() as tx:
        tx.execute(text(f'DELETE FROM plain WHERE "index" < {FOUNDING + count}'))
    return time.monotonic() - began


def _order(ledgers: Ledgers, count: int) -> float:
    """Order the erasure of the oldest entries' parts; return how many seconds that took."""
    ledger = ledgers.get(LEDGER)
    setting = MutabilitySetting(type="agent.action/1", erase=("operator",))
    ledger.append_as_operator("mutability/1", msgspec.json.encode(MutabilityChange(setting)))
    entries = ledger.entries(range(FOUNDING, FOUNDING + count), with_payload=False)
    targets = tuple(Parts(ids.format_digest(each.leaf_hash), ("body",)) for each in entries)
    began = time.monotonic()
    ledger.append_as_operator("erasure/1", msgspec.json.encode(Erasure(targets, "other")))
    took_s = time.monotonic() - began
    ledgers.follower.catch_up()
    return took_s
