"""Numbers of streams: which are used up, on disk, so that no restart uses one twice.

::

    streams/00 … streams/ff    slots of 64 bytes: 46 hexadecimal digits of SHA-256 over author and
                               stream, whose first two name the file; the next number, 16 digits

A number given to two records is evidence against its author, for good. So it is used up here
before its record can leave, and several threads and processes may share the folder. A crash
between the two leaves a gap: a record was made, and nobody has it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from ledger_core.errors import IntegrityError
from ledgergrid.files import locked, make_durable, make_folder, read_bounded, write_at

_SLOT_BYTES: Final = 64
"""Within one sector of any disk, so that a slot is never half old and half new."""
_NAME_CHARS: Final = 46
_FILE_BYTES: Final = 64 * 1024 * 1024
_SLOT: Final = re.compile(rb"[0-9a-f]{46} [0-9]{16}\n")


class _Slot(NamedTuple):
    path: Path
    offset: int
    name: str
    following: int


class Numbers:
    """One folder's streams. ``_touched``, files not durable yet, is owned by ``_lock``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "streams"
        self._lock = threading.Lock()
        self._touched: set[Path] = set()

    @contextmanager
    def next(self, authors: Sequence[str], stream: str, wanted: int | None) -> Iterator[int]:
        """Yield the next record's number, used up unless the block raises.

        ``authors``: the key that signs, and those it follows, whose count goes on. ``wanted``: a
        number of the caller's own choice, and responsibility.
        """
        with self._lock, locked(make_folder(self._folder) / ".lock"):
            slots = [self._find(author, stream) for author in authors]
            following = max(slot.following for slot in slots)
            number = following if wanted is None else wanted
            yield number
            self._write(slots[0], max(following, number + 1))

    def make_durable(self) -> None:
        """Return once all numbers used up so far are used up after any crash."""
        with self._lock:
            if self._touched:
                make_durable(self._touched)
                self._touched.clear()

    def _find(self, author: str, stream: str) -> _Slot:
        digest = sha256(f"{author} {stream}".encode()).hexdigest()
        path, name = self._folder / digest[:2], digest[2 : 2 + _NAME_CHARS]
        try:
            data = read_bounded(path, _FILE_BYTES)
        except FileNotFoundError:
            data = b""
        # What a crash left behind the last whole slot is written over.
        end = len(data) - len(data) % _SLOT_BYTES
        at = data.find(name.encode(), 0, end)
        if at < 0:
            return _Slot(path, end, name, 0)
        slot = data[at : at + _SLOT_BYTES]
        if at % _SLOT_BYTES or not _SLOT.fullmatch(slot):
            raise IntegrityError(f"{path} is damaged: use streams that were never used")
        return _Slot(path, at, name, int(slot[_NAME_CHARS + 1 : -1]))

    def _write(self, slot: _Slot, following: int) -> None:
        self._touched.add(slot.path)
        write_at(slot.path, slot.offset, f"{slot.name} {following:016d}\n".encode())
