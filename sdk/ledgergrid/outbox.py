"""Records that are sealed but not acknowledged, in files, so that a crash loses none.

::

    outbox/01990b1f-….ndjson     a segment: what was put together, a submission a line
    refused/01990b1f-….json      a record the ledger will not take, as it was sent
    refused/01990b1f-….txt       … and what the ledger said

A segment is written with one fsync before its first record is sent, and removed when its
last one is settled. What a crash leaves behind is sent again whole: the ledger answers a
repetition with the receipt it gave before. Payloads lie here in the clear, for their owner
alone. To have a refused record sent once more, move its ``.json`` to ``outbox/`` as
``.ndjson``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ledger_core import limits
from ledger_core.errors import BusyError, IntegrityError, LedgerGridError, MalformedError
from ledgergrid.files import make_folder, read_bounded, sweep, write_durably
from ledgergrid.sealing import Sealed, parse_sealed

log = logging.getLogger("ledgergrid")

_SEGMENT = ".ndjson"


class Outbox:
    """The folder, and which of its segments this process is sending.

    ``_open`` (segment's file to ids not settled) and ``_bytes`` are owned by ``_lock``.
    """

    def __init__(
        self, folder: Path, *, limit_bytes: int, prepare: Callable[[], None] = lambda: None
    ) -> None:
        """``prepare`` makes durable what records rest on, before they are."""
        self._prepare = prepare
        self.folder = make_folder(folder / "outbox")
        self.refused = make_folder(folder / "refused")
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._open: dict[Path, set[str]] = {}
        sweep(self.folder)
        self._bytes = sum(path.stat().st_size for path in self._segments())

    def _segments(self) -> list[Path]:
        # Named by UUIDv7: the oldest comes first.
        return sorted(self.folder.glob(f"*{_SEGMENT}"))

    def is_empty(self) -> bool:
        return not self._segments()

    def put(self, batch: Sequence[Sealed]) -> None:
        """Make a batch durable before it is sent; raise :class:`BusyError` if there is no room."""
        data = b"".join(sealed.line + b"\n" for sealed in batch)
        path = self.folder / f"{batch[0].id}{_SEGMENT}"
        self._prepare()
        with self._lock:
            if self._bytes + len(data) > self._limit_bytes:
                raise BusyError(f"outbox {self.folder} holds {self._bytes} bytes and is full")
            self._bytes += len(data)
            self._open[path] = {sealed.id for sealed in batch}
        try:
            write_durably(path, data)
        except OSError:
            self._forget(path, len(data))
            raise

    def settle(self, id: str) -> None:
        """Note that a record is acknowledged or refused; remove its segment after the last one."""
        with self._lock:
            path = next((path for path, ids in self._open.items() if id in ids), None)
            if path is None:
                return
            self._open[path].discard(id)
            if self._open[path]:
                return
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            size = 0  # Another process that shares the folder has sent it, too.
        self._forget(path, size)

    def refuse(self, sealed: Sealed, error: LedgerGridError) -> None:
        """Put a record aside that would be refused for ever, with the reason."""
        write_durably(self.refused / f"{sealed.id}.json", sealed.line)
        reason = f"{error.code}: {error}\n".encode("utf-8", "backslashreplace")
        write_durably(self.refused / f"{sealed.id}.txt", reason)
        self.settle(sealed.id)

    def release(self, batch: Iterable[Sealed]) -> bool:
        """Stop counting as this process's own what could not be settled; say if there was any."""
        ids = {sealed.id for sealed in batch}
        with self._lock:
            kept = {path: own for path, own in self._open.items() if not own & ids}
            found = len(kept) < len(self._open)
            self._open = kept
        return found

    def left_over(self) -> Iterator[list[Sealed]]:
        """Yield segments nobody here is sending, oldest first; each is then ours to settle."""
        for path in self._segments():
            if path not in self._open:
                batch = self._read(path)
                if batch and self._claim(path, batch):
                    yield batch

    def _claim(self, path: Path, batch: Sequence[Sealed]) -> bool:
        with self._lock:
            is_free = path not in self._open
            if is_free:
                self._open[path] = {sealed.id for sealed in batch}
        return is_free

    def _read(self, path: Path) -> list[Sealed]:
        try:
            lines = read_bounded(path, limits.BATCH_BYTES).split(b"\n")
            return [parse_sealed(line) for line in lines if line]
        except FileNotFoundError:
            return []  # Sent and removed by another process that shares the folder.
        except (MalformedError, IntegrityError) as error:
            # Not ours as written: the disk or someone changed it. Keep it, out of the way.
            aside = path.replace(self.refused / f"{path.stem}.damaged")
            log.error("outbox segment is damaged and was put aside as %s: %s", aside, error)
            return []

    def _forget(self, path: Path, size_bytes: int) -> None:
        with self._lock:
            self._open.pop(path, None)
            self._bytes = max(0, self._bytes - size_bytes)
