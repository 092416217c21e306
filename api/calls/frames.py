"""Whole requests out of what is stored of them: the bytes themselves, or frames that build on them.

A frame names the leaf hash of the entry that holds the request it builds on. Where that one is
erased, or not for the reader, this one cannot be read either.
"""

from __future__ import annotations

from api.calls.contents import Seen
from api.sight import Sight


class Requests:
    """Puts together requests of one ledger, for one reader."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def resolve(self, raw: bytes, seen: Seen) -> bytes:
        """Return the whole request that an entry holds."""
        return raw
