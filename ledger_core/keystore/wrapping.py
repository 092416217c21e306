"""A key store whose keys are wrapped by somebody else: a key management service.

What lies in the key store is of no use then without that service: neither its file, nor its
write-ahead log, nor its backups open a payload. Keys are made ahead of their use (supply.py), so
appends do not wait for the service; reads do, for keys that were not needed lately.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from ledger_core.formats.sealed import KEY_BYTES
from ledger_core.keystore.model import DataKey, KeyStore

CACHED_S = 60.0
"""How long an unwrapped key is kept in memory: as long as a process may not know of its end."""
_CACHED_KEYS = 20_000
_AT_ONCE = 1_000

_T = TypeVar("_T")


class Wrapper(Protocol):
    """Wraps keys so that only the same service unwraps them; many at a time, in order."""

    def wrap(self, keys: Sequence[bytes]) -> list[bytes]:
        """Return each key wrapped: never 32 bytes long."""

    def unwrap(self, wrapped: Sequence[bytes]) -> list[bytes]:
        """Return each key as it was."""

    def close(self) -> None: ...


class WrappedKeyStore:
    """Another key store, with every key in it wrapped.

    Keys of 32 bytes were added before there was a wrapper, and are taken as they are.
    """

    def __init__(
        self, inner: KeyStore, wrapper: Wrapper, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._inner = inner
        self._wrapper = wrapper
        self._cache = _Cache(clock_s)

    def add(self, keys: Collection[DataKey]) -> None:
        for part in _parts(keys):
            wrapped = self._wrapper.wrap([each.key for each in part])
            pairs = zip(part, wrapped, strict=True)
            self._inner.add([DataKey(each.id, sealed) for each, sealed in pairs])
            self._cache.put({each.id: each.key for each in part}, self._cache.era)

    def find(self, ids: Collection[bytes]) -> dict[bytes, bytes]:
        era = self._cache.era
        found = self._cache.get(ids)
        stored = self._inner.find([each for each in ids if each not in found])
        fresh = {key_id: key for key_id, key in stored.items() if len(key) == KEY_BYTES}
        for part in _parts(stored.keys() - fresh.keys()):
            keys = self._wrapper.unwrap([stored[key_id] for key_id in part])
            fresh.update(zip(part, keys, strict=True))
        self._cache.put(fresh, era)
        return found | fresh

    def destroy(self, keys: Mapping[bytes, bytes | None], order: bytes) -> None:
        self._inner.destroy(keys, order)
        self._cache.drop(key_id for key_id in keys.values() if key_id is not None)

    def find_destroyed(self, commitments: Collection[bytes]) -> dict[bytes, bytes]:
        return self._inner.find_destroyed(commitments)

    def find_unknown(self, ids: Collection[bytes]) -> set[bytes]:
        return self._inner.find_unknown(ids)

    def count(self) -> int:
        return self._inner.count()

    def close(self) -> None:
        self._wrapper.close()
        self._inner.close()


class _Cache:
    """Unwrapped keys, those used last, each for a minute at most. Guarded by ``_lock``."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._keys: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self.era = 0
        """Changes with every destruction: what was looked up before is not kept after it."""

    def get(self, ids: Collection[bytes]) -> dict[bytes, bytes]:
        now_s = self._clock_s()
        with self._lock:
            self._forget_old(now_s)
            found = {key_id: self._keys[key_id][1] for key_id in ids if key_id in self._keys}
        return found

    def put(self, keys: Mapping[bytes, bytes], era: int) -> None:
        end_s = self._clock_s() + CACHED_S
        with self._lock:
            if era != self.era:
                return
            for key_id, key in keys.items():
                self._keys[key_id] = end_s, key
                self._keys.move_to_end(key_id)
            while len(self._keys) > _CACHED_KEYS:
                self._keys.popitem(last=False)

    def drop(self, ids: Iterable[bytes]) -> None:
        with self._lock:
            self.era += 1
            for key_id in ids:
                self._keys.pop(key_id, None)

    def _forget_old(self, now_s: float) -> None:
        """Forget what has had its time: put last, ends last."""
        while self._keys and next(iter(self._keys.values()))[0] <= now_s:
            self._keys.popitem(last=False)


def _parts(keys: Iterable[_T]) -> Iterator[list[_T]]:
    left = iter(keys)
    while part := list(islice(left, _AT_ONCE)):
        yield part
