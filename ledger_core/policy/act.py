"""The act: an entry as the rules of governance look at it."""

from __future__ import annotations

import msgspec

from ledger_core.records.model import Payload, RecordType


class Act(msgspec.Struct, frozen=True):
    """An entry, as far as governance looks at it. ``received_at`` in ms.

    ``amends``: the leaf hash of the version it amends, if it does. ``repeats``: that of the first
    entry with its author's counter, if that is another one. ``parts``: what its payload consists
    of by its record, whether or not any of it is still there.
    """

    index: int
    leaf_hash: bytes
    received_at: int
    kind: RecordType
    author: str
    payload: Payload
    amends: str | None = None
    repeats: bytes | None = None
    parts: tuple[str, ...] = ()
