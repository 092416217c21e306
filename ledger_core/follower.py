"""The follower reads new entries in order, fills the views and wakes those who wait.

Every process has one. Filling is a transaction that begins where the views end, so several
followers of one database never fill an entry twice; a lock that nobody waits for lets one of
them read and compute at a time, while the others look how far it came. Where a keeper lives
(beside.py) they do nothing else, and ask it to hurry for those who wait.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set

import msgspec

from ledger_core.beside import Keeper, Nobody, Standstill
from ledger_core.constitutions import ConstitutionReader
from ledger_core.erased import find_erased
from ledger_core.errors import IntegrityError, LedgerGridError, StorageError
from ledger_core.fail_points import reach
from ledger_core.formats.record import Part
from ledger_core.fresh import FreshEntries
from ledger_core.opening import place_of
from ledger_core.payloads import Opened, Payloads
from ledger_core.policy.constitution import Constitution
from ledger_core.records.model import Payload
from ledger_core.storage import store
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.store import SealedEntry
from ledger_core.storage.views import ViewRow, Views
from ledger_core.viewing import VIEWED_PARTS, RowMaker, Seen, decode_viewed, see

_CHUNK = 500
_GROUP_BYTES = 8 * 1024 * 1024
_POLL_S = 0.2
_HURRY_S = 0.002
_LOOK_SHARE = 20
"""All ledgers are looked at, one after the other, in one part of the time in so many."""
_CONSTITUTIONS = 1_000
"""Ledgers whose constitution is kept between two looks; another one is read anew."""


class Follower:
    """Keeps the views behind the log. All state below is guarded by the lock of both conditions.

    ``_changed`` wakes those who wait for entries or views, ``_wanted`` the follower's own thread:
    an append must not wake a thread that it is not for.
    """

    def __init__(
        self,
        database: Database,
        views: Views,
        payloads: Payloads,
        keeper: Keeper | None = None,
    ) -> None:
        self._database = database
        self._keeper = keeper or Nobody()
        self._standstill = Standstill("views")
        self._payloads = payloads
        self._views = views
        lock = threading.Lock()
        self._changed, self._wanted = threading.Condition(lock), threading.Condition(lock)
        self._sizes: dict[int, int] = {}
        self._filled: dict[int, int] = {}
        self._rung: set[int] = set()
        self._asked: dict[int, int] = {}
        self._hurried = 0
        self._is_pushed = False
        self._fresh = FreshEntries()
        self._constitutions: OrderedDict[int, ConstitutionReader] = OrderedDict()
        self._look_at = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)
        self.failure: LedgerGridError | None = None

    def prepare(self) -> None:
        """Have no views of a longer history than the database's: a backup was restored."""
        filled = self._views.all_progress()
        with self._database.read() as tx:
            sizes = store.read_sizes(tx)
        if any(size > sizes.get(ledger_id, 0) for ledger_id, size in filled.items()):
            self._views.rebuild()
            filled = {}
        self._filled = filled

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._wanted.notify()
        if self._thread.is_alive():
            self._thread.join()

    def hand_over(self, ledger_id: int, appended: Sequence[Seen]) -> None:
        """Take entries that were just appended, so that they need not be read again."""
        if not self._keeper.lives():
            self._fresh.add(ledger_id, appended)

    def ring(self, ledger_id: int, size: int) -> None:
        """Say that a ledger has grown; other processes' growth is found by looking."""
        with self._changed:
            self._sizes[ledger_id] = max(size, self._sizes.get(ledger_id, 0))
            self._rung.add(ledger_id)
            self._changed.notify_all()

    def sizes(self) -> dict[int, int]:
        """Return every ledger's size, by ledger id, as last heard of."""
        with self._changed:
            return dict(self._sizes)

    def wait_for(self, ledger_id: int, size: int, timeout_s: float) -> int:
        """Wait until the log is larger than ``size``; return its size."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._sizes.get(ledger_id, 0) > size or self._closing, timeout_s
            )
            return self._sizes.get(ledger_id, 0)

    def wait_for_views(self, ledger_id: int, size: int, timeout_s: float) -> int:
        """Wait until the views cover ``size`` entries; return what they cover."""
        if self._filled.get(ledger_id, 0) < size and self._keeper.lives():
            self._keeper.hurry(ledger_id)
        with self._changed:
            self._hurried += 1
            if self._filled.get(ledger_id, 0) < size:
                self._ask({ledger_id: size})
            self._wanted.notify()
            self._changed.wait_for(
                lambda: self._filled.get(ledger_id, 0) >= size or self._closing, timeout_s
            )
            self._hurried -= 1
            return self._filled.get(ledger_id, 0)

    def hurry(self, ledger_ids: Set[int]) -> None:
        """Fill these ledgers' views now: somebody in another process waits for them."""
        with self._changed:
            self._ask(dict.fromkeys(ledger_ids, 0))
            self._is_pushed = True
            self._wanted.notify()

    # --- the thread --------------------------------------------------------------

    def _work(self) -> None:
        while not self._closing:
            failure = self._look_where_asked()
            if time.monotonic() < self._look_at:
                self.failure = self._fill_those(self._take_rung()) or failure or self.failure
            else:
                self.failure = self.catch_up() or failure
            with self._changed:
                # Views follow in their own time, so that appends have the processor; whoever
                # waits for them makes them hurry.
                if self._hurried:
                    self._wanted.wait_for(lambda: self._closing, _HURRY_S)
                else:
                    self._wanted.wait_for(self._is_wanted, _POLL_S)
                self._is_pushed = False

    def _is_wanted(self) -> bool:
        return self._is_pushed or bool(self._hurried) or self._closing

    def catch_up(self) -> LedgerGridError | None:
        """Fill the views up to the log as it stands now; return what kept them from it, if any.

        Views may lag: ground truth does not depend on them. One ledger's damage keeps no
        other's views waiting.
        """
        began = time.monotonic()
        try:
            with self._database.read() as tx:
                sizes = store.read_sizes(tx)
        except StorageError as error:
            return error
        # Of ten thousand ledgers few grow: looking at all of them has its share of time.
        self._look_at = began + _LOOK_SHARE * (time.monotonic() - began)
        with self._changed:
            self._rung.clear()
            for ledger_id, size in sizes.items():
                self._sizes[ledger_id] = max(size, self._sizes.get(ledger_id, 0))
            self._changed.notify_all()
        return self._watch_keeper(sizes) if self._keeper.lives() else self._fill_those(sizes)

    def _watch_keeper(self, sizes: Mapping[int, int]) -> LedgerGridError | None:
        try:
            filled = self._views.all_progress()
            self._standstill.look(sizes, filled, time.monotonic())
        except StorageError as error:
            return error
        with self._changed:
            self._filled = filled
            self._changed.notify_all()
        return None

    def _look_where_asked(self) -> LedgerGridError | None:
        """Look at ledgers whose views somebody waits for; others may have written."""
        with self._changed:
            asked, self._asked = self._asked, {}
        for ledger_id, size in asked.items():
            try:
                if self._keeper.lives():
                    self._look_on(ledger_id, size)
                else:
                    with self._database.read() as tx:
                        self.ring(ledger_id, store.read_head(tx, ledger_id).size)
            except StorageError as error:
                with self._changed:
                    self._ask(asked)
                return error
        return None

    def _look_on(self, ledger_id: int, size: int) -> None:
        """Learn how far the keeper came with a ledger; unless it is there, have it hurry."""
        filled = self._views.progress(ledger_id)
        self._note_filled(ledger_id, filled)
        if filled < size:
            self._keeper.hurry(ledger_id)
            with self._changed:
                self._ask({ledger_id: size})

    def _ask(self, sizes: Mapping[int, int]) -> None:
        """Have these ledgers looked at until their views have these sizes; under the lock."""
        for ledger_id, size in sizes.items():
            self._asked[ledger_id] = max(size, self._asked.get(ledger_id, 0))

    def _take_rung(self) -> dict[int, int]:
        """Return the sizes of ledgers that grew in this process, or are not filled up yet."""
        with self._changed:
            rung, self._rung = self._rung, set()
            return {ledger_id: self._sizes[ledger_id] for ledger_id in rung}

    def _fill_those(self, sizes: Mapping[int, int]) -> LedgerGridError | None:
        failure: LedgerGridError | None = None
        if self._keeper.lives():
            return failure
        for ledger_id, size in sizes.items():
            try:
                if self._filled.get(ledger_id, 0) != size:
                    self._fill(ledger_id, size)
            except StorageError as error:
                with self._changed:
                    self._ask({ledger_id: size})
                failure = error
            except LedgerGridError as error:
                failure = error
        return failure

    def _fill(self, ledger_id: int, size: int) -> None:
        """Fill one ledger's views, chunk by chunk, as long as no other process does."""
        while not self._closing:
            with self._database.filling() as is_ours:
                done = self._views.progress(ledger_id)
                if is_ours and done < size:
                    rows = self._read_rows(ledger_id, range(done, min(done + _CHUNK, size)))
                    reach("follower.before-commit")
                    done = self._views.fill(ledger_id, rows)
                    reach("follower.after-commit")
            self._note_filled(ledger_id, done)
            if done >= size or not is_ours:
                return

    def _read_rows(self, ledger_id: int, indexes: range) -> list[ViewRow]:
        """Make rows of entries that were just appended here, or else of what is stored."""
        fresh = self._fresh.take(ledger_id, indexes.start, len(indexes))
        with self._database.read() as tx:
            if fresh and _is_stored(tx, ledger_id, fresh[-1]):
                # Read after the entries, so it is of their indexes or a later one.
                constitution = self._constitution(tx, ledger_id)
                rows = self._rows_of_fresh(tx, ledger_id, fresh, constitution)
            else:
                rows = self._rows_of_stored(tx, ledger_id, indexes)
            return _find_starts(tx, ledger_id, rows)

    def _rows_of_fresh(
        self, tx: Transaction, ledger_id: int, fresh: Sequence[Seen], constitution: Constitution
    ) -> list[ViewRow]:
        asked = [(place_of(seen), seen.payload) for seen in fresh if seen.payload]
        erased = find_erased(tx, ledger_id, constitution, asked)
        maker = RowMaker(constitution)
        return [maker.make(seen, _left(seen, erased.get(seen.index, ()))) for seen in fresh]

    def _rows_of_stored(self, tx: Transaction, ledger_id: int, indexes: range) -> list[ViewRow]:
        entries = store.read_entries(tx, ledger_id, indexes, with_payload=False)
        if len(entries) != len(indexes):
            raise IntegrityError(f"entries are missing between {indexes[0]} and {indexes[-1]}")
        constitution = self._constitution(tx, ledger_id)
        maker = RowMaker(constitution)
        rows: list[ViewRow] = []
        for group in _groups(entries):
            viewed = {seen.index: seen.viewed for seen in group}
            wanted = {index: parts for index, parts in viewed.items() if parts}
            opened: Mapping[int, Opened] = {}
            if wanted:
                asked = [(place_of(x), wanted[x.index]) for x in group if x.index in wanted]
                erased = find_erased(tx, ledger_id, constitution, asked)
                stored = store.read_parts(tx, ledger_id, list(wanted), VIEWED_PARTS)
                opened = self._payloads.open(stored, wanted, erased)
            for seen in group:
                parts = _present(opened.get(seen.index, {}))
                rows.append(maker.make(seen, decode_viewed(seen, parts)))
        return rows

    def _constitution(self, tx: Transaction, ledger_id: int) -> Constitution:
        reader = self._constitutions.get(ledger_id)
        if reader is None:
            reader = self._constitutions[ledger_id] = ConstitutionReader(ledger_id)
            if len(self._constitutions) > _CONSTITUTIONS:
                self._constitutions.popitem(last=False)
        return reader.read(tx)

    def _note_filled(self, ledger_id: int, size: int) -> None:
        self._fresh.drop(ledger_id, size)
        with self._changed:
            self._filled[ledger_id] = size
            if size < self._sizes.get(ledger_id, 0):
                self._rung.add(ledger_id)
            self._changed.notify_all()


def _left(seen: Seen, erased: Collection[str]) -> Payload:
    payload = seen.payload or {}
    return {name: payload[name] for name in payload if name not in erased} if erased else payload


def _is_stored(tx: Transaction, ledger_id: int, seen: Seen) -> bool:
    """Say whether an entry is what the database has there, and with it all before it."""
    return store.read_leaf_hashes(tx, ledger_id, seen.index, seen.index + 1) == [seen.leaf_hash]


def _present(opened: Opened) -> dict[str, Part]:
    return {name: part for name, part in opened.items() if isinstance(part, Part)}


def _groups(entries: Iterable[SealedEntry]) -> Iterator[list[Seen]]:
    """Cut entries into groups whose payload, as far as views need it, is read in one query."""
    group: list[Seen] = []
    size = 0
    for seen in map(see, entries):
        size += seen.viewed_bytes
        group.append(seen)
        if size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _find_starts(tx: Transaction, ledger_id: int, rows: list[ViewRow]) -> list[ViewRow]:
    """Say of the ends of calls where their starts lie."""
    wanted = {row.call.answers for row in rows if row.call and row.call.answers}
    if not wanted:
        return rows
    places = {row.leaf_hash: row.index for row in rows if row.leaf_hash in wanted}
    places |= store.find_indexes(tx, ledger_id, wanted - places.keys())
    return [_with_start(row, places) for row in rows]


def _with_start(row: ViewRow, places: Mapping[bytes, int]) -> ViewRow:
    if row.call is None or row.call.answers is None:
        return row
    call = msgspec.structs.replace(row.call, start=places.get(row.call.answers))
    return msgspec.structs.replace(row, call=call)
