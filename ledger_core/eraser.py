"""The eraser carries out orders to erase, and records that they are done.

::

    order in force -> parts noted in ``erased`` -> keys destroyed, tombstones set
    -> ciphertext deleted -> views cleaned, and their files -> erasure.done/1

Each step can be done again, so whatever a crash leaves half done the next one finishes. Nobody
sees any of it: a part is erased for every reader from the order's index on (erased.py).

One process erases at a time. Before a process serves anything it looks for keys that are there
again, because an older key store was restored, and destroys them again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ledger_core import clock, ids, limits
from ledger_core.beside import Routine
from ledger_core.clock import Clock
from ledger_core.errors import (
    ClosedError,
    ConflictError,
    LedgerGridError,
    RefusedError,
    StorageError,
)
from ledger_core.fail_points import reach
from ledger_core.formats.entry import look_into
from ledger_core.formats.record import parse_record
from ledger_core.keystore.model import KeyStore
from ledger_core.ledger import Ledger
from ledger_core.policy.effects import Effect
from ledger_core.reached import read_reached
from ledger_core.records.model import JSON, decode_part
from ledger_core.records.types.erasure_done import ErasureDone
from ledger_core.records.types.export import EXPORT_1, Export
from ledger_core.storage import effects, erasures
from ledger_core.storage.database import Database
from ledger_core.storage.erasures import ErasedPart
from ledger_core.storage.forgetting import forget, is_viewed, scrub
from ledger_core.storage.search import EntryQuery
from ledger_core.storage.views import Views

STORES = ("keys", "payloads", "views")
"""What is cleaned, as ``erasure.done/1`` names it."""

_LOOK_S = 1.0
_AT_ONCE = 1_000
_ORDERS_AT_ONCE = 100
_FILLING_S = 30.0
_SEARCHABLE_S = 30.0
_AGAIN_S = 0.02
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Undone:
    """A part that is erased, and not destroyed (any more)."""

    ledger: str
    index: int
    part: str


@dataclass(frozen=True)
class _Order:
    """An order to erase that is in force and not done."""

    ledger_id: int
    effect: Effect

    @property
    def name(self) -> tuple[int, bytes]:
        return self.ledger_id, self.effect.leaf_hash

    @property
    def ordered_at(self) -> int:
        """The index from which on what it takes is erased."""
        return self.effect.ordered_at or self.effect.index


class Eraser(Routine):
    """``find`` opens a ledger by its id. ``also`` is done first (schedule.py)."""

    def __init__(
        self,
        database: Database,
        keys: KeyStore,
        views: Views,
        find: Callable[[int], Ledger],
        now: Clock,
        key_backup_days: int | None = None,
        also: Callable[[], LedgerGridError | None] = lambda: None,
    ) -> None:
        super().__init__("eraser", _LOOK_S)
        self._database = database
        self._keys = keys
        self._views = views
        self._find = find
        self._now = now
        self._key_backup_days = key_backup_days
        self._also = also
        self._unrecorded: set[tuple[int, bytes]] = set()
        """Orders carried out whose ledger takes no record of it, now or ever."""

    def start(self) -> None:
        """Destroy again what must not be there, then go on in the background."""
        self.destroy_again()
        with self._database.erasing() as is_ours:
            for order in self._read_to_do() if is_ours else ():
                self._destroy(order)
        super().start()

    def _go_round(self) -> float:
        self.failure = self.erase_due()
        return _LOOK_S

    # --- before serving ------------------------------------------------------------

    def destroy_again(self) -> int:
        """Destroy keys of erased parts that are there (again); return of how many parts."""
        count = 0
        for parts in self._all_parts():
            back = self._find_back(parts)
            for by in {each.by for each in back}:
                again = {each.commitment: each.key_id for each in back if each.by == by}
                self._keys.destroy(again, by)
            count += len(back)
        return count

    def _find_back(self, parts: Sequence[ErasedPart]) -> list[ErasedPart]:
        """Return parts whose key is there, or whose tombstone is not."""
        alive = self._keys.find([each.key_id for each in parts if each.key_id is not None])
        dead = self._keys.find_destroyed([each.commitment for each in parts])
        return [each for each in parts if each.key_id in alive or each.commitment not in dead]

    def find_undone(self) -> Undone | None:
        """Return an erased part whose key or ciphertext is still there, if there is one."""
        with self._database.read() as tx:
            stored = next(erasures.read_undone(tx, 1), None)
        if stored is not None:
            return Undone(self._find(stored[0]).name, *stored[1:])
        for parts in self._all_parts():
            for part in self._find_back(parts):
                return Undone(self._find(part.ledger_id).name, part.index, part.part)
        return None

    def _all_parts(self) -> Iterator[list[ErasedPart]]:
        after = (0, -1, "")
        while True:
            with self._database.read() as tx:
                parts = erasures.read_all(tx, after, _AT_ONCE)
            if not parts:
                return
            yield parts
            after = (parts[-1].ledger_id, parts[-1].index, parts[-1].part)

    # --- one round -----------------------------------------------------------------

    def erase_due(self) -> LedgerGridError | None:
        """Carry out what is in force and not done; return what kept some of it from that."""
        try:
            with self._database.erasing() as is_ours:
                return self._erase_due() if is_ours else None
        except LedgerGridError as error:
            return error

    def _erase_due(self) -> LedgerGridError | None:
        failure = self._also()
        gone: list[_Order] = []
        resumed: list[_Order] = []
        for order in self._read_to_do():
            try:
                if self._destroy(order):
                    resumed.append(order)
                gone.append(order)
            except StorageError:
                raise
            except LedgerGridError as error:
                failure = error
        if gone:
            self._clean(gone, resumed)
        for order in gone:
            failure = self._record(order) or failure
        return failure

    def _read_to_do(self) -> list[_Order]:
        with self._database.read() as tx:
            to_do = effects.read_to_do(tx, _ORDERS_AT_ONCE + len(self._unrecorded))
        orders = [_Order(*each) for each in to_do]
        return [each for each in orders if each.name not in self._unrecorded]

    def _destroy(self, order: _Order) -> bool:
        """Destroy keys and ciphertext of all parts that an order takes.

        Returns whether that was begun before, and views may have been touched then.
        """
        by = order.effect.leaf_hash
        with self._database.read() as tx:
            is_resumed = erasures.count(tx, order.ledger_id, by) > 0
        for targets in read_reached(self._database, order.ledger_id, order.effect):
            self._go_on()
            with self._database.write() as tx:
                erasures.note(tx, order.ledger_id, by, targets)
            reach("eraser.noted")
        for parts in self._parts_of(order):
            self._keys.destroy({each.commitment: each.key_id for each in parts}, by)
            reach("eraser.keys-destroyed")
        for parts in self._parts_of(order):
            with self._database.write() as tx:
                erasures.delete_payloads(tx, parts)
            reach("eraser.rows-deleted")
        return is_resumed

    def _parts_of(self, order: _Order) -> Iterator[list[ErasedPart]]:
        """Yield what an order took, some at a time."""
        after = (-1, "")
        while True:
            with self._database.read() as tx:
                parts = erasures.read_reached(
                    tx, order.ledger_id, order.effect.leaf_hash, after, _AT_ONCE
                )
            self._go_on()
            if not parts:
                return
            yield parts
            after = (parts[-1].index, parts[-1].part)

    def _go_on(self) -> None:
        """Raise when the service stops: the next one finishes what this one began."""
        if self._closing.is_set():
            raise StorageError("the service stops")

    # --- views ---------------------------------------------------------------------

    def _clean(self, orders: Sequence[_Order], resumed: Sequence[_Order]) -> None:
        """Remove from views, and from their files, whatever was computed from erased parts.

        Nobody fills views meanwhile: what was read before an order took effect would come in
        behind this.
        """
        end_s = time.monotonic() + _FILLING_S
        while True:
            self._go_on()
            with self._database.filling() as is_ours, self._database.indexing() as is_mine:
                if is_ours and is_mine:
                    self._clean_alone(orders, resumed)
                    return
            if time.monotonic() > end_s:
                raise StorageError("views are being filled all the time")
            time.sleep(_AGAIN_S)

    def _clean_alone(self, orders: Sequence[_Order], resumed: Sequence[_Order]) -> None:
        types: set[str] = set()
        for order in orders:
            for parts in self._parts_of(order):
                viewed = [x for x in parts if is_viewed(x.type, x.part)]
                named = [(x.type, x.part, x.index) for x in viewed]
                count = forget(self._database, self._views, order.ledger_id, named)
                if count or order in resumed:  # Else nothing was ever in them.
                    types |= {x.type for x in viewed}
                reach("eraser.views-forgot")
        scrub(self._database, self._views, types)
        reach("eraser.views-scrubbed")

    # --- the record ----------------------------------------------------------------

    def _record(self, order: _Order) -> LedgerGridError | None:
        """Append ``erasure.done/1``; return what kept it from that."""
        try:
            ledger = self._find(order.ledger_id)
            if not ledger.is_operated_here():
                self._unrecorded.add(order.name)
                return None
            ledger.record_erased(self._manifest(ledger, order), order.ordered_at)
            reach("eraser.recorded")
        except ConflictError:
            return None  # Another process recorded it first.
        except (ClosedError, RefusedError) as error:
            self._unrecorded.add(order.name)
            return None if isinstance(error, ClosedError) else error
        except LedgerGridError as error:
            return error
        return None

    def _manifest(self, ledger: Ledger, order: _Order) -> ErasureDone:
        by = order.effect.leaf_hash
        with self._database.read() as tx:
            parts = erasures.count(tx, order.ledger_id, by)
        exports = self._exports(ledger, order) if parts else []
        until = None
        if self._key_backup_days is not None:
            until = clock.format_time(self._now() + self._key_backup_days * _DAY_MS)
        return ErasureDone(
            order=ids.format_digest(by),
            parts=parts,
            stores=STORES,
            backups_until=until,
            exports=tuple(exports[: limits.EXPORTS_NAMED]),
            exports_left_out=len(exports[limits.EXPORTS_NAMED :]),
        )

    def _exports(self, ledger: Ledger, order: _Order) -> list[str]:
        """Return the record ids of earlier exports whose range reaches an erased part."""
        since = order.ordered_at
        if ledger.wait_until_searchable(since, _SEARCHABLE_S) < since:
            raise StorageError("the views are behind: earlier exports cannot be found yet")
        found: list[str] = []
        after: int | None = None
        while True:
            page = ledger.search(
                EntryQuery(type=EXPORT_1.name, after=after, limit=limits.PAGE_ITEMS)
            )
            earlier = [index for index in page.indexes if index < since]
            found += self._reaching(ledger, order, earlier)
            after = page.next
            if after is None or after >= since:
                return found

    def _reaching(self, ledger: Ledger, order: _Order, indexes: Sequence[int]) -> list[str]:
        found: list[str] = []
        by = order.effect.leaf_hash
        for entry in ledger.entries(indexes):
            start, end = 0, entry.index
            if "body" in entry.parts:  # One that was itself erased may have reached anything.
                body: Export = decode_part(EXPORT_1, "body", JSON, entry.parts["body"].data)
                start, end = body.start, body.end or entry.index + 1
            with self._database.read() as tx:
                if erasures.reaches_into(tx, order.ledger_id, by, start, end):
                    found.append(parse_record(look_into(entry.leaf)[1]).id)
        return found
