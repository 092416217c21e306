"""The key store as the rest of the house sees it.

A data key opens one payload part. It is made ahead of its use and durable before it seals
anything; the part's row in the ledgers' database names it by its id. Destroying it destroys the
part in every copy of that database: in replicas, write-ahead logs and backups that nobody can
reach any more. What stays is a tombstone, by commitment: the same payload is never taken again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from ledger_core.errors import SettingsError
from ledger_core.formats.sealed import KEY_BYTES

KEY_ID_BYTES = 16
_TIME_BYTES = 6


class DataKey(msgspec.Struct, frozen=True):
    """A data key and the id it is found by."""

    id: bytes
    key: bytes


def make_keys(count: int) -> list[DataKey]:
    """Make data keys. Ids begin with the time (ms), so that an index of them grows at its end."""
    now = (time.time_ns() // 1_000_000).to_bytes(_TIME_BYTES)
    width = KEY_ID_BYTES - _TIME_BYTES + KEY_BYTES
    # All at once: thousands of calls take longer than the keys' way into the database.
    random = os.urandom(width * count)
    each = (random[at : at + width] for at in range(0, len(random), width))
    return [DataKey(now + drawn[:-KEY_BYTES], drawn[-KEY_BYTES:]) for drawn in each]


class KeyStore(Protocol):
    """Keeps data keys, and tombstones of those that were destroyed. Thread-safe."""

    def add(self, keys: Collection[DataKey]) -> None:
        """Keep new keys; they are durable when this returns."""

    def find(self, ids: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the keys of those ids that are there and not destroyed."""

    def destroy(self, keys: Mapping[bytes, bytes | None], order: bytes) -> None:
        """Destroy keys for good; durable when this returns, and safe to do again.

        ``keys`` gives for each commitment the id of its key, None where there is none (any more):
        a tombstone is set all the same. ``order`` is the leaf hash of the entry that ordered it.
        """

    def find_destroyed(self, commitments: Collection[bytes]) -> dict[bytes, bytes]:
        """Return, of those commitments that have a tombstone, the order's leaf hash."""

    def find_unknown(self, ids: Collection[bytes]) -> set[bytes]:
        """Return those ids that this store never had a key of: it is not, or no longer, whole."""

    def count(self) -> int:
        """Return how many keys there are that were not destroyed."""

    def close(self) -> None: ...


class NoKeys:
    """The key store of one who only writes and reads governance, which needs no keys."""

    def add(self, keys: Collection[DataKey]) -> None:
        raise SettingsError("a payload was to be sealed where no key store is open")

    def find(self, ids: Collection[bytes]) -> dict[bytes, bytes]:
        return {}

    def destroy(self, keys: Mapping[bytes, bytes | None], order: bytes) -> None:
        raise SettingsError("a payload was to be destroyed where no key store is open")

    def find_destroyed(self, commitments: Collection[bytes]) -> dict[bytes, bytes]:
        return {}

    def find_unknown(self, ids: Collection[bytes]) -> set[bytes]:
        return set(ids)

    def count(self) -> int:
        return 0

    def close(self) -> None:
        """There is nothing to close."""
