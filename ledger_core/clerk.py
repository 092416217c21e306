"""The clerk ends proposals whose time is up, and has closed ledgers anchored in their parents.

Every process has one. Whoever appends an outcome second is refused by the log itself; an
anchor appended twice is one entry (anchorer.py).
"""

from __future__ import annotations

from collections.abc import Callable

from ledger_core.beside import Routine
from ledger_core.clock import Clock
from ledger_core.errors import LedgerGridError, StandingError, StorageError
from ledger_core.storage import assemblies
from ledger_core.storage.database import Database

_LOOK_S = 1.0
_AT_ONCE = 200


class Clerk(Routine):
    """``expire`` ends one proposal of a ledger, by ledger id and leaf hash.

    ``anchor`` anchors what is due, and returns what kept it from that.
    """

    def __init__(
        self,
        database: Database,
        expire: Callable[[int, bytes], None],
        anchor: Callable[[], LedgerGridError | None],
        clock: Clock,
    ) -> None:
        super().__init__("clerk", _LOOK_S)
        self._database = database
        self._expire = expire
        self._anchor = anchor
        self._clock = clock

    def _go_round(self) -> float:
        self.failure = self.tidy()
        return _LOOK_S

    def tidy(self) -> LedgerGridError | None:
        """Do what is due now; return what kept some of it from being done, if anything did."""
        failure = self._end_overdue()
        return (self._anchor() if not self._closing.is_set() else None) or failure

    def _end_overdue(self) -> LedgerGridError | None:
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
