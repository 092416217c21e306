"""Has the views forget what was made of erased parts: rows first, then every byte in the files."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete

from ledger_core.policy.calls import PART, TYPES
from ledger_core.records import registry
from ledger_core.storage.database import Database
from ledger_core.storage.views import Views


def is_viewed(type_name: str, part: str) -> bool:
    """Say whether views may hold anything that was made of this part."""
    return _has_columns(type_name, part) or _is_searched(type_name, part)


def _has_columns(type_name: str, part: str) -> bool:
    kind = registry.find_type(type_name)
    return kind.is_viewed and part in kind.viewed_parts


def _is_searched(type_name: str, part: str) -> bool:
    """Say whether a call may be found by the words that stand in this part."""
    return type_name in TYPES and part in (PART[type_name], "request", "response")


def forget(
    database: Database, views: Views, ledger_id: int, parts: Iterable[tuple[str, str, int]]
) -> int:
    """Remove what was made of the payloads of entries, each given as type, part and index.

    Returns how many rows that were. The entries stay listed. Of those that the views do not
    cover yet it forgets nothing. What is left in the files, :func:`scrub` takes.
    """
    by_type: dict[str, set[int]] = {}
    searched: set[int] = set()
    for type_name, part, index in parts:
        if _has_columns(type_name, part):
            by_type.setdefault(type_name, set()).add(index)
        if _is_searched(type_name, part):
            searched.add(index)
    if not by_type and not searched:
        return 0
    count = 0
    with database.use_views(write=True) as tx:
        # First: the views of calls know which entries are one call, until they have forgotten.
        if searched:
            count += views.search.forget(tx, ledger_id, searched)
        for type_name, indexes in by_type.items():
            for table in views.tables.made_at_entries(type_name):
                this = (table.c.ledger_id == ledger_id) & table.c.index.in_(sorted(indexes))
                count += tx.execute(delete(table).where(this)).rowcount
            if type_name in TYPES:
                count += views.calls.forget(tx, ledger_id, indexes)
    return count


def scrub(database: Database, views: Views, type_names: Iterable[str]) -> None:
    """Leave no byte in any file of what was removed from the views of these types.

    Raises :class:`StorageError` if that cannot be done now.
    """
    tables = {
        table.name: table for name in type_names for table in views.tables.made_of_payloads(name)
    }
    if tables:
        database.rewrite_views([tables[name] for name in sorted(tables)])
