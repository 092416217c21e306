"""Whole requests out of what is stored of them: the bytes themselves, or frames that build on them.

A frame names the leaf hash of the entry that holds the request it builds on. Where that one is
erased, or not for the reader, this one cannot be read either.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from api.calls.contents import Seen, see
from api.sight import Sight
from ledger_core import ids
from ledger_core.errors import IntegrityError, NotFoundError
from ledger_core.llm import frames

_KEPT_BYTES = 32 * 1024 * 1024


class _Whole(NamedTuple):
    depth: int
    data: bytes


class Requests:
    """Puts together requests of one ledger for one reader; keeps what others may build on."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._kept: OrderedDict[bytes, _Whole] = OrderedDict()
        self._kept_bytes = 0

    def resolve(self, raw: bytes, seen: Seen) -> bytes:
        """Return the whole request that an entry holds.

        Raises :class:`NotFoundError` if one that it builds on is not there for the reader.
        """
        chain: list[tuple[bytes, frames.Frame]] = []
        at, found = seen, self._kept.get(seen.entry.leaf_hash)
        while found is None:
            if at.record.payload["request"].media_type != frames.MEDIA_TYPE:
                found = self._keep(at.entry.leaf_hash, _Whole(0, raw))
                break
            frame = frames.parse_frame(raw)
            if chain and frame.depth != chain[-1][1].depth - 1:
                raise IntegrityError(f"frame {frame.depth} deep below {chain[-1][1].depth}")
            chain.append((at.entry.leaf_hash, frame))
            found = self._kept.get(frame.base)
            if found is None:
                at, raw = self._base(frame.base)
        for leaf_hash, frame in reversed(chain):
            if frame.depth != found.depth + 1:
                raise IntegrityError(f"a frame {frame.depth} deep stands on one {found.depth} deep")
            whole = frames.apply(frame, found.data)
            found = self._keep(leaf_hash, _Whole(frame.depth, whole))
        return found.data

    def _base(self, leaf_hash: bytes) -> tuple[Seen, bytes]:
        name = ids.format_digest(leaf_hash)
        index = self._sight.find([leaf_hash]).get(leaf_hash)
        if index is None:
            raise NotFoundError(f"it builds on the request of {name}, which is not there")
        entry = self._sight.entry(index)
        parts = self._sight.parts([entry], self._sight.ledger.states.of([entry]))
        seen = see(entry, parts[index])
        data = seen.bytes_of("request")
        if data is None:
            status = seen.status_of("request")
            raise NotFoundError(f"it builds on the request of entry {index}, which is {status}")
        return seen, data

    def _keep(self, leaf_hash: bytes, whole: _Whole) -> _Whole:
        self._kept[leaf_hash] = whole
        self._kept_bytes += len(whole.data)
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1].data)
        return whole
