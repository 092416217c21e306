"""The clerk ends proposals whose time is up, so that none stays open for want of a visitor.

Every process has one. Whoever appends an outcome second is refused by the log itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ledger_core.clock import Clock
from ledger_core.errors import LedgerGridError, StandingError, StorageError
from ledger_core.storage import assemblies
from ledger_core.storage.database import Database

_LOOK_S = 1.0
_AT_ONCE = 200


class Clerk:
    """``expire`` ends one proposal of a ledger, by ledger id and leaf hash."""

    def __init__(
        self, database: Database, expire: Callable[[int, bytes], None], clock: Clock
    ) -> None:
        self._database = database
        self._expire = expire
        self._clock = clock
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="clerk", daemon=True)
        self.failure: LedgerGridError | None = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while not self._closing.wait(_LOOK_S):
            self.failure = self.tidy()

    def tidy(self) -> LedgerGridError | None:
        """End what is overdue now; return what kept one from its end, if anything did."""
        failure: LedgerGridError | None = None
        try:
            with self._database.read() as tx:
                overdue = assemblies.read_overdue(tx, self._clock(), _AT_ONCE)
        except StorageError as error:
            return error
        for ledger_id, leaf_hash in overdue:
            if self._closing.is_set():
                break
            try:
                self._expire(ledger_id, leaf_hash)
            except StandingError:
                continue  # Another process ended it first.
            except LedgerGridError as error:
                failure = error
        return failure
