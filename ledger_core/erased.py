"""Erased: which payload parts are gone by what took effect in the log, key and row or not.

Whoever opens payloads asks here first. From the index at which an order takes effect a part is
erased: what is still stored of it is never shown, however long its destruction takes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from ledger_core import limits
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect, retired_at
from ledger_core.records.registry import find_type
from ledger_core.storage import effects
from ledger_core.storage.database import Transaction

NOW = limits.MAX_INTEGER
"""An index behind every entry."""


class Place(msgspec.Struct, frozen=True):
    """An entry whose parts are wanted. ``received_at`` in ms."""

    index: int
    leaf_hash: bytes
    type: str
    author: str
    received_at: int


Erasures = Mapping[int, Mapping[str, int]]
"""By index and part: the index from which on the part is erased."""


def find_erased(
    tx: Transaction,
    ledger_id: int,
    constitution: Constitution,
    wanted: Sequence[tuple[Place, Collection[str]]],
) -> Erasures:
    """Return which of the wanted parts are erased. Governance never is."""
    if not constitution.mutability:
        return {}  # Nothing was ever changed here.
    asked = [(place, parts) for place, parts in wanted if is_erasable(place.type)]
    if not asked:
        return {}
    changed = effects.find_changed(tx, ledger_id, [place.index for place, _ in asked])
    found: dict[int, dict[str, int]] = {}
    for place, parts in asked:
        effect = changed.get(place.index)
        if effect is None and not constitution.retentions:
            continue
        effect = effect or Effect(place.index, place.leaf_hash, place.type, place.author)
        gone = _erased(constitution, effect, place.received_at, parts)
        if gone:
            found[place.index] = gone
    return found


def is_erasable(type_name: str) -> bool:
    """Say whether payload of this type can be erased: a constitution stays readable for ever."""
    return not find_type(type_name).is_governance


def _erased(
    constitution: Constitution, effect: Effect, received_at: int, parts: Collection[str]
) -> dict[str, int]:
    named = effect.erased_at(NOW)
    found: dict[str, int] = {}
    for part in parts:
        retired = retired_at(constitution, effect, received_at, part, NOW)
        at = [each for each in (named[part].at if part in named else None, retired) if each]
        if at:
            found[part] = min(at)
    return found
