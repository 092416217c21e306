"""What holds of entries in a large ledger: effects and subjects, beside reading a plain entry."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import msgspec

from api.routes.changes import read_effect, read_subject
from api.sight import Sight
from ledger_core import ids
from ledger_core.ledger import Ledger
from ledger_core.policy.visibility import OPERATOR, Reader
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.targets import Parts
from ledger_core.records.types.mutability import MutabilityChange
from ledger_core.records.types.redaction import Redact
from tests.bench import ceilings, filling
from tests.bench.figures import Ceiling, Figure, Target, percentile
from tests.bench.place import FOUNDING, Place, found, opened
from tests.bench.run import Run
from tests.bench.stock import LEDGER

_CHANGED: Final = 100
"""One entry in so many is redacted before anything is asked; at most a thousand."""

_SESSION: Final = 50
"""Entries about one subject in the stock."""

_FLAT: Final = Target("ratio at most", 2.0)
_INSIDER: Final = Reader(is_insider=True)


def measure(run: Run, store: str) -> None:
    """Ask a small ledger and one as large as growth's largest; the cost must not grow with it."""
    section = f"effects, {store}"
    run.report.heading(section)
    small, large = run.sizes.growth[0], run.sizes.growth[-1]
    before = _ask(run, section, _filled(run, store, small), small, {})
    grown = run.grown.get(store) or _filled(run, store, large)
    _ask(run, section, grown, large, before)


def _filled(run: Run, store: str, size: int) -> Place:
    folder = run.folder / f"effects-{store}-{size}"
    place = found(store, folder, run.server_of(store), run.stock)
    filling.fill(place, run.stock, 0, size - FOUNDING, run.pool)
    return place


def _ask(
    run: Run, section: str, place: Place, size: int, before: dict[str, float]
) -> dict[str, float]:
    with opened(place) as ledgers:
        ledger = ledgers.get(LEDGER)
        changed = _change(ledger, size)
        ledgers.follower.catch_up()
        chance = random.Random(size)
        plain = [chance.randrange(FOUNDING, size) for _ in range(run.sizes.proofs)]
        questions = _questions(ledger, plain, changed)
        medians: dict[str, float] = {}
        for name, question in questions.items():
            took = ceilings.time_each(run.sizes.proofs // 4, question)
            medians[name] = percentile(took, 0.5)
            ceiling = Ceiling("a plain entry", medians["a plain entry"])
            title = f"at {size:,}: {name}"
            shown = None if name == "a plain entry" else ceiling
            run.report.add(Figure(section, f"{title}, p50", medians[name], "ms", shown))
            run.report.add(Figure(section, f"{title}, p99", percentile(took, 0.99), "ms"))
            if name in before:
                against = Ceiling("in the small ledger", before[name])
                title = f"{name}, against the small ledger"
                run.report.add(Figure(section, title, medians[name], "ms", against, _FLAT))
    return medians


def _questions(
    ledger: Ledger, plain: list[int], changed: list[int]
) -> dict[str, Callable[[int], object]]:
    sight, insider = Sight(ledger, OPERATOR), Sight(ledger, _INSIDER)
    sessions = [f"session:session-{index // _SESSION // 2}" for index in plain]
    return {
        "a plain entry": lambda n: sight.entry(plain[n]),
        "effect of one never changed": lambda n: read_effect(sight, plain[n], None),
        "effect of one that was redacted": lambda n: read_effect(
            insider, changed[n % len(changed)], None
        ),
        f"a subject of {_SESSION} entries": lambda n: read_subject(
            insider, sessions[n], None, None, _SESSION
        ),
    }


def _change(ledger: Ledger, size: int) -> list[int]:
    """Redact entries in places all over the ledger, once; return their indexes."""
    step = max(_CHANGED, size // 1_000)
    wanted = list(range(FOUNDING, size, step))
    setting = MutabilitySetting(type="agent.action/1", redact=("operator",))
    if not ledger.constitution().mutability:
        ledger.append_as_operator("mutability/1", msgspec.json.encode(MutabilityChange(setting)))
    entries = ledger.entries(wanted, with_payload=False)
    targets = tuple(Parts(ids.format_digest(each.leaf_hash), ("body",)) for each in entries)
    ledger.append_as_operator("redaction/1", msgspec.json.encode(Redact(targets)))
    return wanted
