"""Erases parts of entries, and waits until that is done."""

from __future__ import annotations

import msgspec

from ledger_core import ids
from ledger_core.ledger import Ledger
from ledger_core.records.targets import Parts
from ledger_core.records.types.erasure import Erasure
from ledger_core.sequencer import Appended
from tests.support.ledgers import Author, appended


def erase(ledger: Ledger, author: Author, placed: Appended, *parts: str) -> int:
    """Have an author erase parts of its own entry; return the order's index."""
    target = Parts(ids.format_digest(placed.leaf_hash), tuple(sorted(parts)))
    body = msgspec.json.encode(Erasure((target,), "subject"))
    order = appended(ledger.append([author.seal("erasure/1", {"body": body})])[0])
    ledger.wait_for(order.index + 1, 60)
    assert ledger.effects([order.index])[order.index].done_at is not None
    return order.index
