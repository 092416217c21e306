"""Concealed: entries of which views still hold what a reader may not see (any more).

The views know who saw a payload when it was appended. What was redacted since, and what an order
took that is being carried out at this moment, whoever sums over views leaves out by this.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ledger_core.erased import NOW
from ledger_core.policy.visibility import Reader
from ledger_core.reached import read_reached
from ledger_core.storage import effects
from ledger_core.storage.database import Database

_ORDERS = 1_000

Parts = Mapping[str, Collection[str]]
"""By record type, the parts that are looked at."""


def find_concealed(database: Database, ledger_id: int, reader: Reader, parts: Parts) -> set[int]:
    """Return the entries of which one of these parts is not for the reader now."""
    found = set[int]()
    with database.read() as tx:
        orders = [each for at, each in effects.read_to_do(tx, _ORDERS) if at == ledger_id]
        veiled = [] if reader.is_operator else effects.find_veiled(tx, ledger_id)
    for effect in veiled:
        for part, veil in effect.veils_at(NOW).items():
            hides = (veil.visible_to or frozenset()).isdisjoint(reader.roles)
            if hides and part in parts.get(effect.type, ()):
                found.add(effect.index)
    for order in orders:
        for targets in read_reached(database, ledger_id, order):
            found |= {each.index for each in targets if each.part in parts.get(each.type, ())}
    return found
