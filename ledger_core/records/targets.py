"""What changes of earlier entries name: entries by leaf hash, and parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.records.rules import LeafHash, PartName

Entries = Annotated[
    tuple[LeafHash, ...], msgspec.Meta(min_length=1, max_length=limits.CHANGE_TARGETS)
]


class Parts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parts of one entry's payload; ``entry`` is its leaf hash."""

    entry: LeafHash
    parts: Annotated[
        tuple[PartName, ...], msgspec.Meta(min_length=1, max_length=limits.PAYLOAD_PARTS)
    ]


PartsOfEntries = Annotated[
    tuple[Parts, ...], msgspec.Meta(min_length=1, max_length=limits.CHANGE_TARGETS)
]


def check_entries(targets: Sequence[str]) -> None:
    """Raise :class:`PayloadError` unless these are leaf hashes, each once."""
    try:
        for each in targets:
            ids.parse_digest(each)
    except MalformedError as error:
        raise PayloadError(f"targets: {error}") from None
    if len(set(targets)) != len(targets):
        raise PayloadError("a target is named twice")


def check_parts_of_entries(targets: Sequence[Parts]) -> None:
    """Raise :class:`PayloadError` unless entries are named once each, and each part of them."""
    check_entries([each.entry for each in targets])
    if any(len(set(each.parts)) != len(each.parts) for each in targets):
        raise PayloadError("a part is named twice")
