"""Cuts an answer down to size: its longest texts first, and each cut says how much is missing."""

from __future__ import annotations

from typing import Any

import msgspec

from ledger_core.errors import TooLargeError

_TEXT_CHARS = (64_000, 16_000, 4_000, 1_000, 250)


def cut_to_fit(said: Any, limit: int) -> Any:
    """Return ``said`` as JSON of at most ``limit`` bytes.

    Texts are cut, keys and numbers are not: if that is not enough there are too many things, and
    :class:`TooLargeError` says so.
    """
    if _size(said) <= limit:
        return said
    for chars in _TEXT_CHARS:
        shorter = _cut(said, chars)
        if _size(shorter) <= limit:
            return shorter
    raise TooLargeError(f"the answer is larger than {limit} bytes: ask for fewer items")


def _size(said: Any) -> int:
    return len(msgspec.json.encode(said))


def _cut(said: Any, chars: int) -> Any:
    if isinstance(said, str):
        if len(said) <= chars:
            return said
        return f"{said[:chars]}… ({len(said) - chars} more characters)"
    if isinstance(said, dict):
        return {name: _cut(value, chars) for name, value in said.items()}
    if isinstance(said, list):
        return [_cut(each, chars) for each in said]
    return said
