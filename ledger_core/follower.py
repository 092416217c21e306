"""The follower reads new entries in order, fills the views and wakes those who wait.

Every process has one. Filling is a transaction that begins where the views end, so several
followers of one database never fill an entry twice.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ledger_core import ids
from ledger_core.errors import LedgerGridError, StorageError
from ledger_core.fail_points import reach
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import parse_record
from ledger_core.records.model import Payload, decode_payload
from ledger_core.records.registry import find_type
from ledger_core.storage import store
from ledger_core.storage.database import Database
from ledger_core.storage.store import StoredEntry
from ledger_core.storage.views import ViewRow, Views

_CHUNK = 500
_POLL_S = 0.2
_HURRY_S = 0.005


class Follower:
    """Keeps the views behind the log. All state below is guarded by ``_changed``."""

    def __init__(self, database: Database, views: Views) -> None:
        self._database = database
        self._views = views
        self._changed = threading.Condition()
        self._sizes: dict[int, int] = {}
        self._filled: dict[int, int] = {}
        self._hurried = 0
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)
        self.failure: LedgerGridError | None = None

    def start(self) -> None:
        self._filled = self._views.all_progress()
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
            self._changed.notify_all()

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
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._filled.get(ledger_id, 0) >= size or self._closing, timeout_s
            )
            self._hurried -= 1
            return self._filled.get(ledger_id, 0)

    # --- the thread --------------------------------------------------------------

    def _work(self) -> None:
        while not self._closing:
            self.failure = self.catch_up()
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
        failure: LedgerGridError | None = None
        try:
            with self._database.read() as tx:
                sizes = store.read_sizes(tx)
        except StorageError as error:
            return error
        with self._changed:
            for ledger_id, size in sizes.items():
                self._sizes[ledger_id] = max(size, self._sizes.get(ledger_id, 0))
            self._changed.notify_all()
        for ledger_id, size in sizes.items():
            try:
                if self._filled.get(ledger_id, 0) != size:
                    self._fill(ledger_id, size)
            except LedgerGridError as error:
                failure = error
        return failure

    def _fill(self, ledger_id: int, size: int) -> None:
        done = self._views.progress(ledger_id)
        if done > size and done > self._read_size(ledger_id):
            # Views of a longer history than the database's: a backup was restored.
            self._views.rebuild()
            done = 0
            with self._changed:
                self._filled.clear()
        self._note_filled(ledger_id, done)
        while done < size and not self._closing:
            end = min(done + _CHUNK, size)
            with self._database.read() as tx:
                entries = store.read_entries(tx, ledger_id, range(done, end))
            reach("follower.before-commit")
            done = self._views.fill(ledger_id, [view_row(entry) for entry in entries])
            reach("follower.after-commit")
            self._note_filled(ledger_id, done)

    def _note_filled(self, ledger_id: int, size: int) -> None:
        with self._changed:
            self._filled[ledger_id] = size
            self._changed.notify_all()

    def _read_size(self, ledger_id: int) -> int:
        with self._database.read() as tx:
            return store.read_head(tx, ledger_id).size


def view_row(entry: StoredEntry) -> ViewRow:
    """Compute what the views say of an entry."""
    parsed = parse_entry(entry.leaf)
    record = parse_record(parsed.record)
    kind = find_type(record.type)
    columns: Mapping[str, str | int | None] = {}
    if kind.columns and entry.parts.keys() == record.payload.keys():
        payload: Payload = decode_payload(kind, record, entry.parts)
        columns = kind.row(record, payload)
    return ViewRow(
        index=entry.index,
        type=record.type,
        author=record.author,
        received_at=parsed.header.received_at,
        leaf_hash=entry.leaf_hash,
        stream=record.stream if isinstance(record.stream, str) else None,
        refs=[ids.parse_digest(ref.to) for ref in record.refs],
        columns=columns,
    )
