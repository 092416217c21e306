"""What runs beside a service's own work: threads that go round, and the keeper.

The keeper is a process of its own that fills views and full text, so that those which serve have
their interpreter for themselves (api/keeper.py starts it). As long as it lives they fill nothing;
when it has ended, each of them fills again.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final, Protocol

from ledger_core.errors import LedgerGridError, StorageError

_STANDSTILL_S: Final = 60.0


class Keeper(Protocol):
    """Whoever fills views and full text instead of this process."""

    def lives(self) -> bool: ...

    def hurry(self, ledger_id: int) -> None:
        """Ask it to fill a ledger's views now: somebody waits for them."""


class Nobody:
    """No keeper: this process fills views and full text."""

    def lives(self) -> bool:
        return False

    def hurry(self, ledger_id: int) -> None:
        raise AssertionError("there is nobody to hurry")


class Routine(ABC):
    """A thread that goes round until it is closed; ``failure`` is what the last round met."""

    def __init__(self, name: str, first_s: float) -> None:
        self._first_s = first_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.failure: LedgerGridError | None = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        rest_s = self._first_s
        while not self._closing.wait(rest_s):
            rest_s = self._go_round()

    @abstractmethod
    def _go_round(self) -> float:
        """Do what is due now; return for how many seconds to rest."""


class Standstill:
    """Notices that somebody else's work on ledgers does not go on."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._since: dict[int, tuple[int, float]] = {}

    def look(self, sizes: Mapping[int, int], done: Mapping[int, int], now_s: float) -> None:
        """Compare how far each ledger has come; :class:`StorageError` if one does not move."""
        behind = {each: done.get(each, 0) for each in sizes if done.get(each, 0) < sizes[each]}
        known, self._since = self._since, {}
        for each, size in behind.items():
            at, since_s = known.get(each, (-1, now_s))
            self._since[each] = (size, since_s if at == size else now_s)
        if any(now_s - since_s > _STANDSTILL_S for _, since_s in self._since.values()):
            raise StorageError(f"the keeper fills no {self._what}")
