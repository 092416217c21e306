"""The follower reads new entries in order, fills the views and wakes those who wait.

Every process has one. Filling is a transaction that begins where the views end, so several
followers of one database never fill an entry twice; a lock that nobody waits for lets one of
them read and compute at a time, while the others look how far it came.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import msgspec

from ledger_core import ids, limits
from ledger_core.clock import parse_time
from ledger_core.constitutions import ConstitutionReader
from ledger_core.erased import Place, find_erased
from ledger_core.errors import IntegrityError, LedgerGridError, MalformedError, StorageError
from ledger_core.fail_points import reach
from ledger_core.formats.entry import look_into
from ledger_core.formats.record import Part, PartRef, Ref
from ledger_core.payloads import Opened, Payloads
from ledger_core.policy.calls import TYPES, CallPart, call_part
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.register import REGISTERED, register_of
from ledger_core.policy.visibility import Subject, entry_circle, payload_circle
from ledger_core.records.model import JSON, decode_part
from ledger_core.records.registry import ALL, find_type
from ledger_core.storage import store
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.store import SealedEntry, StoredEntry
from ledger_core.storage.views import ViewRow, Views

_CHUNK = 500
_GROUP_BYTES = 8 * 1024 * 1024
_POLL_S = 0.2
_HURRY_S = 0.005
_LOOK_SHARE = 20
"""All ledgers are looked at, one after the other, in one part of the time in so many."""
_CONSTITUTIONS = 1_000
"""Ledgers whose constitution is kept between two looks; another one is read anew."""


class Follower:
    """Keeps the views behind the log. All state below is guarded by ``_changed``."""

    def __init__(self, database: Database, views: Views, payloads: Payloads) -> None:
        self._database = database
        self._payloads = payloads
        self._views = views
        self._changed = threading.Condition()
        self._sizes: dict[int, int] = {}
        self._filled: dict[int, int] = {}
        self._rung: set[int] = set()
        self._asked: set[int] = set()
        self._hurried = 0
        self._constitutions: OrderedDict[int, ConstitutionReader] = OrderedDict()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)
        self.failure: LedgerGridError | None = None

    def start(self) -> None:
        filled = self._views.all_progress()
        with self._database.read() as tx:
            sizes = store.read_sizes(tx)
        if any(size > sizes.get(ledger_id, 0) for ledger_id, size in filled.items()):
            # Views of a longer history than the database's: a backup was restored.
            self._views.rebuild()
            filled = {}
        self._filled = filled
        self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

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
        with self._changed:
            self._hurried += 1
            if self._filled.get(ledger_id, 0) < size:
                self._asked.add(ledger_id)
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._filled.get(ledger_id, 0) >= size or self._closing, timeout_s
            )
            self._hurried -= 1
            return self._filled.get(ledger_id, 0)

    # --- the thread --------------------------------------------------------------

    def _work(self) -> None:
        look_at = 0.0
        while not self._closing:
            began = time.monotonic()
            if began < look_at:
                self.failure = self._look_where_asked() or self.failure
                self.failure = self._fill_those(self._take_rung()) or self.failure
            else:
                self.failure = self.catch_up()
                # Of ten thousand ledgers few grow: looking at all of them has its share of time.
                look_at = began + _LOOK_SHARE * (time.monotonic() - began)
            with self._changed:
                # Views follow in their own time, so that appends have the processor; whoever
                # waits for them makes them hurry.
                if self._hurried:
                    self._changed.wait_for(lambda: self._closing, _HURRY_S)
                else:
                    self._changed.wait_for(lambda: bool(self._hurried) or self._closing, _POLL_S)

    def catch_up(self) -> LedgerGridError | None:
        """Fill the views up to the log as it stands now; return what kept them from it, if any.

        Views may lag: ground truth does not depend on them. One ledger's damage keeps no
        other's views waiting.
        """
        try:
            with self._database.read() as tx:
                sizes = store.read_sizes(tx)
        except StorageError as error:
            return error
        with self._changed:
            self._rung.clear()
            for ledger_id, size in sizes.items():
                self._sizes[ledger_id] = max(size, self._sizes.get(ledger_id, 0))
            self._changed.notify_all()
        return self._fill_those(sizes)

    def _look_where_asked(self) -> LedgerGridError | None:
        """Learn the size of ledgers whose views somebody waits for; others may have written."""
        with self._changed:
            asked, self._asked = self._asked, set()
        for ledger_id in asked:
            try:
                with self._database.read() as tx:
                    size = store.read_head(tx, ledger_id).size
            except StorageError as error:
                self._ask_again(asked)
                return error
            self.ring(ledger_id, size)
        return None

    def _ask_again(self, ledger_ids: Set[int]) -> None:
        with self._changed:
            self._asked |= ledger_ids

    def _take_rung(self) -> dict[int, int]:
        """Return the sizes of ledgers that grew in this process, or are not filled up yet."""
        with self._changed:
            rung, self._rung = self._rung, set()
            return {ledger_id: self._sizes[ledger_id] for ledger_id in rung}

    def _fill_those(self, sizes: Mapping[int, int]) -> LedgerGridError | None:
        failure: LedgerGridError | None = None
        for ledger_id, size in sizes.items():
            try:
                if self._filled.get(ledger_id, 0) != size:
                    self._fill(ledger_id, size)
            except StorageError as error:
                self._ask_again({ledger_id})
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
        with self._database.read() as tx:
            entries = store.read_entries(tx, ledger_id, indexes, with_payload=False)
            if len(entries) != len(indexes):
                raise IntegrityError(f"entries are missing between {indexes[0]} and {indexes[-1]}")
            # Read after the entries, so it is of their indexes or a later one.
            constitution = self._constitution(tx, ledger_id)
            rows: list[ViewRow] = []
            for group in _groups(entries):
                viewed = {seen.index: seen.viewed for seen in group}
                wanted = {index: parts for index, parts in viewed.items() if parts}
                opened: Mapping[int, Opened] = {}
                if wanted:
                    asked = [(x.place, wanted[x.index]) for x in group if x.index in wanted]
                    erased = find_erased(tx, ledger_id, constitution, asked)
                    stored = store.read_parts(tx, ledger_id, list(wanted), _VIEWED_PARTS)
                    opened = self._payloads.open(stored, wanted, erased)
                rows += [
                    _row(seen, _present(opened.get(seen.index, {})), constitution) for seen in group
                ]
            return _find_starts(tx, ledger_id, rows)

    def _constitution(self, tx: Transaction, ledger_id: int) -> Constitution:
        reader = self._constitutions.get(ledger_id)
        if reader is None:
            reader = self._constitutions[ledger_id] = ConstitutionReader(ledger_id)
            if len(self._constitutions) > _CONSTITUTIONS:
                self._constitutions.popitem(last=False)
        return reader.read(tx)

    def _note_filled(self, ledger_id: int, size: int) -> None:
        with self._changed:
            self._filled[ledger_id] = size
            if size < self._sizes.get(ledger_id, 0):
                self._rung.add(ledger_id)
            self._changed.notify_all()


_PARTS_OF = {
    kind.name: kind.viewed_parts if kind.is_viewed or kind.name in REGISTERED else ()
    for kind in ALL
}
"""The payload parts that the views need of a type."""

_VIEWED_PARTS = sorted({name for names in _PARTS_OF.values() for name in names})


class _Record(msgspec.Struct):
    """What the views need of a record. It was checked in full when it was admitted."""

    type: str
    author: str
    payload: dict[str, PartRef] = {}
    stream: str | None = None
    refs: tuple[Ref, ...] = ()
    parties: tuple[str, ...] = ()


class _Seen(msgspec.Struct, frozen=True):
    """An entry looked into, once. ``received_at`` in ms."""

    index: int
    leaf_hash: bytes
    received_at: int
    record: _Record

    @property
    def place(self) -> Place:
        record = self.record
        return Place(self.index, self.leaf_hash, record.type, record.author, self.received_at)

    @property
    def viewed(self) -> dict[str, PartRef]:
        """What the record says of those parts that the views need."""
        names, payload = _PARTS_OF[find_type(self.record.type).name], self.record.payload
        return {name: payload[name] for name in names if name in payload}


_RECORDS = msgspec.json.Decoder(_Record)


def _present(opened: Opened) -> dict[str, Part]:
    return {name: part for name, part in opened.items() if isinstance(part, Part)}


def _see(entry: StoredEntry | SealedEntry) -> _Seen:
    try:
        received_at, record = look_into(entry.leaf)
        seen = _RECORDS.decode(record)
        return _Seen(entry.index, entry.leaf_hash, parse_time(received_at), seen)
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError, MalformedError) as error:
        raise IntegrityError(f"entry {entry.index}: {error}", index=entry.index) from None


def _groups(entries: Iterable[SealedEntry]) -> Iterator[list[_Seen]]:
    """Cut entries into groups whose payload, as far as views need it, is read in one query."""
    group: list[_Seen] = []
    size = 0
    for seen in map(_see, entries):
        payload = seen.record.payload
        size += sum(payload[name].size for name in _VIEWED_PARTS if name in payload)
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


def view_row(entry: StoredEntry, parts: Mapping[str, Part], constitution: Constitution) -> ViewRow:
    """Compute what the views say of an entry, given the parts that its type's columns need."""
    return _row(_see(entry), parts, constitution)


def _row(seen: _Seen, parts: Mapping[str, Part], constitution: Constitution) -> ViewRow:
    record = seen.record
    kind = find_type(record.type)
    wanted = [name for name in _PARTS_OF[kind.name] if name in parts]
    payload: dict[str, Any] | None = None
    # A part that is gone, erased or lost, has no columns: the entry itself stays listed.
    if len(wanted) == len(_PARTS_OF[kind.name]):
        payload = {n: decode_part(kind, n, JSON, parts[n].data) for n in wanted}
    subject = Subject(seen.index, record.type, record.author, record.parties)
    registered = register_of(kind, payload or {}, record.refs)
    return ViewRow(
        index=seen.index,
        type=record.type,
        author=record.author,
        received_at=seen.received_at,
        leaf_hash=seen.leaf_hash,
        stream=record.stream,
        refs=[ids.parse_digest(ref.to) for ref in record.refs],
        columns=kind.row(payload) if payload else {},
        circle=entry_circle(constitution, subject),
        columns_circle=payload_circle(constitution, subject, wanted),
        subjects=[*filter(_is_findable, kind.subjects(payload))] if payload else [],
        change=registered.kind if registered else None,
        targets=registered.targets if registered else (),
        call=_call(seen, payload or {}) if kind.name in TYPES else None,
    )


def _call(seen: _Seen, payload: Mapping[str, Any]) -> CallPart | None:
    record = seen.record
    answers = [ids.parse_digest(ref.to) for ref in record.refs if ref.rel == "answers"]
    return call_part(record.type, payload, seen.received_at, answers[0] if answers else None)


def _is_findable(subject: str) -> bool:
    return 0 < len(subject) <= limits.SUBJECT_CHARS and subject.isprintable()
