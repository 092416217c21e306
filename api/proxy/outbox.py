"""Records of calls that the ledger could not take, on disk until it can.

::

    <data>/outbox/<process>/lock                 held by the process that owns the folder
    <data>/outbox/<process>/<time>-<id>.item     one record, not sealed yet
    <data>/outbox/refused/…                      what the ledger will not take, ever

An item is durable before its call goes on. Items are delivered in order, each under the record
id it was given when it was put here: whatever crashes in between, the ledger has it once. What a
dead process left, the next that looks takes over. Requests lie here in the clear, for the
service's own user alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import anyio
import msgspec
import structlog

from api.ferry import Ferry
from ledger_core import ids, limits
from ledger_core.admission import Admitted
from ledger_core.capturing import Scribe
from ledger_core.errors import (
    BusyError,
    ConflictError,
    IntegrityError,
    LedgerGridError,
    MalformedError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
)
from ledger_core.fail_points import reach
from ledger_core.policy.allowances import Draw
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_start import LlmStart
from ledgergrid.files import make_folder, read_bounded, sweep, write_durably

log = structlog.get_logger("ledgergrid")

_ITEM, _LOCK, _MAKING = ".item", "lock", "."
_ITEM_BYTES = limits.PAYLOAD_PART_BYTES + 1024 * 1024
_AGAIN_S = 1.0
_LATER = (StorageError, ReadOnlyError, BusyError, IntegrityError)
"""What does not say that a record will never be taken."""

OutboxDraw = tuple[bytes, int, str, int | None]


class Item(msgspec.Struct, frozen=True):
    """A record to be made. An end names its start by leaf hash, or by id if that waits as well."""

    kind: Literal["start", "end"]
    record_id: str
    told: bytes
    body: bytes | None
    media_type: str
    draws: tuple[OutboxDraw, ...] = ()
    start_leaf: bytes | None = None
    start_id: str | None = None


def pack_draws(draws: tuple[Draw, ...]) -> tuple[OutboxDraw, ...]:
    """Keep what is drawn and from what; a limit has nothing to say any more."""
    return tuple((each.key, each.amount_microusd, each.label, each.until_ms) for each in draws)


class Outbox:
    """One for each process. ``put`` from any thread; the rest belongs to the event loop."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._all = folder
        self._limit_bytes = limit_bytes
        self._own: Path | None = None
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self._bytes = 0

    # --- putting -----------------------------------------------------------------

    def put(self, item: Item) -> None:
        """Make an item durable; :class:`BusyError` if there is no room. Blocking."""
        data = msgspec.msgpack.encode(item)
        with self._lock:
            folder = self._claim()
            if self._bytes + len(data) > self._limit_bytes:
                raise BusyError(f"the outbox holds {self._bytes} bytes and is full")
            self._bytes += len(data)
        name = f"{time.time_ns():020d}-{item.record_id}{_ITEM}"
        try:
            write_durably(folder / name, data)
        except OSError as error:
            with self._lock:
                self._bytes -= len(data)
            raise StorageError(f"the outbox cannot be written: {error.strerror}") from None
        reach("proxy.outbox-put")

    def _claim(self) -> Path:
        """Return this process's folder, made and locked at the first need."""
        if self._own is None:
            name = ids.new_record_id()
            # Under a name that nobody takes over until it is locked.
            making = make_folder(self._all / f"{_MAKING}{name}")
            self._descriptor = os.open(making / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._own = making.rename(self._all / name)
        return self._own

    def items(self) -> list[Path]:
        """Return what waits, oldest first. Blocking."""
        self._adopt()
        if self._own is None:
            return []
        return sorted(self._own.glob(f"*{_ITEM}"))

    def _adopt(self) -> None:
        """Take over what processes left that are no more."""
        if not self._all.exists():
            return
        for folder in self._all.iterdir():
            is_made = not folder.name.startswith(_MAKING)
            if folder == self._own or not is_made or not (folder / _LOCK).exists():
                continue
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                self._take_over(folder)
            finally:
                os.close(descriptor)

    def _take_over(self, folder: Path) -> None:
        with self._lock:
            own = self._claim()
            for path in folder.glob(f"*{_ITEM}"):
                self._bytes += path.stat().st_size
                path.rename(own / path.name)
        sweep(folder)
        with contextlib.suppress(OSError):
            (folder / _LOCK).unlink()
            folder.rmdir()

    def read(self, path: Path) -> Item | None:
        """Read an item; one that is damaged is put aside. Blocking."""
        try:
            return msgspec.msgpack.decode(read_bounded(path, _ITEM_BYTES), type=Item)
        except (msgspec.DecodeError, IntegrityError) as error:
            self.put_aside(path, error)
            return None

    def settle(self, path: Path) -> None:
        """Remove what was delivered. Blocking."""
        size = path.stat().st_size
        path.unlink()
        with self._lock:
            self._bytes -= size

    def put_aside(self, path: Path, error: Exception) -> None:
        """Keep what cannot be delivered out of the way. Blocking."""
        size = path.stat().st_size
        aside = path.rename(make_folder(self._all / "refused") / path.name)
        with self._lock:
            self._bytes -= size
        log.error("a record of a call was put aside", file=str(aside), why=str(error)[:500])

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


class Delivery:
    """Takes items to the ledger, in order, whenever it takes them. Belongs to one event loop."""

    def __init__(
        self, outbox: Outbox, ferry: Ferry, scribe: Callable[[], Awaitable[Scribe]]
    ) -> None:
        self._outbox = outbox
        self._ferry = ferry
        self._find_scribe = scribe
        self._leaves: dict[str, bytes] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_AGAIN_S)
            try:
                await self.deliver()
            except _LATER as error:
                log.warning("the outbox waits", why=error.code)
            except (LedgerGridError, OSError) as error:
                log.error("the outbox cannot be emptied", why=str(error)[:500])

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await anyio.to_thread.run_sync(self._outbox.close)

    async def deliver(self) -> None:
        """Deliver what waits, until the ledger takes no more."""
        for path in await anyio.to_thread.run_sync(self._outbox.items):
            item = await anyio.to_thread.run_sync(self._outbox.read, path)
            if item is None:
                continue
            scribe = await self._find_scribe()
            try:
                await self._append(scribe, item)
            except _LATER:
                raise
            except (LedgerGridError, MalformedError) as error:
                await anyio.to_thread.run_sync(self._outbox.put_aside, path, error)
                continue
            reach("proxy.outbox-delivered")
            await anyio.to_thread.run_sync(self._outbox.settle, path)

    async def _append(self, scribe: Scribe, item: Item) -> None:
        start_leaf = item.start_leaf
        if item.start_id is not None:
            start_leaf = await self._find_leaf(scribe, item.start_id)
        size = len(item.told) + len(item.body or b"")
        outcome = await self._ferry.submit_made(
            scribe.ledger, lambda: make(scribe, item, start_leaf), size
        )
        if isinstance(outcome, ConflictError):
            return  # It is there: sealing makes other bytes of it each time.
        if isinstance(outcome, LedgerGridError):
            raise outcome
        if item.kind == "start":
            self._leaves = {item.record_id: outcome.leaf_hash, **self._leaves}
            while len(self._leaves) > 1000:
                self._leaves.popitem()

    async def _find_leaf(self, scribe: Scribe, record_id: str) -> bytes | None:
        if record_id in self._leaves:
            return self._leaves.pop(record_id)

        def find() -> bytes | None:
            try:
                return scribe.ledger.entry(scribe.ledger.index_of(record_id)).leaf_hash
            except NotFoundError:
                return None

        return await anyio.to_thread.run_sync(find)


def make(scribe: Scribe, item: Item, start_leaf: bytes | None) -> Admitted:
    """Seal an item."""
    draws = tuple(Draw(key, amount, None, label, until) for key, amount, label, until in item.draws)
    if item.kind == "start":
        start = msgspec.json.decode(item.told, type=LlmStart)
        return scribe.start(
            start, item.body, item.media_type, draws, is_late=True, record_id=item.record_id
        )
    call = msgspec.json.decode(item.told, type=LlmCall2)
    return scribe.end(call, start_leaf, item.body, item.media_type, draws, record_id=item.record_id)
