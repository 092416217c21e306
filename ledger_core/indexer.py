"""The indexer makes calls findable by what was said in them, behind the views and out of the way.

It reads what the views say of calls, opens their entries, and keeps the words. In a process that
serves it works a third of the time at most while ledgers grow. One process does it at a time;
whoever carries out an erasure keeps it from working meanwhile, because what it opened before
would come in behind that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ledger_core.beside import Keeper, Nobody, Routine, Standstill
from ledger_core.call_text import call_text, words_of
from ledger_core.errors import LedgerGridError
from ledger_core.ledger import Ledger
from ledger_core.storage.call_search import CallText
from ledger_core.storage.database import Database
from ledger_core.storage.views import Views

_ENTRIES = 256
"""Entries whose calls are taken in one transaction: a fraction of a second."""
_WIDE_ENTRIES = 8_192
"""Of ledgers with few calls among their entries."""
_LEDGERS = 50
_BREATH_S = 0.05
"""Between two transactions, so that whoever erases gets its turn."""
_IDLE_S = 0.5
_IDLE_SHARE = 20
_WATCH_S = 5.0
"""Between two looks at what a keeper does."""
_REST_SHARE = 2
"""So many times as long as it works it rests, while ledgers grow."""


class Indexer(Routine):
    """``find`` opens a ledger by its id; ``sizes`` tells how large each is, as last heard of.

    ``spares_others``: whether this process serves, and has other things to do.
    """

    def __init__(
        self,
        database: Database,
        views: Views,
        find: Callable[[int], Ledger],
        sizes: Callable[[], dict[int, int]],
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__("indexer", _IDLE_S)
        self._database = database
        self._views = views
        self._find = find
        self._sizes = sizes
        self._keeper = keeper or Nobody()
        self._standstill = Standstill("full text")
        self._before: dict[int, int] = {}
        self.spares_others = True

    def _go_round(self) -> float:
        began_s = time.monotonic()
        worked = False
        try:
            worked = self.step()
            self.failure = None
        except LedgerGridError as error:
            self.failure = error
        took_s = time.monotonic() - began_s
        before, self._before = self._before, self._sizes()
        if self._keeper.lives():
            return _WATCH_S
        if not worked:
            return max(_IDLE_S, _IDLE_SHARE * took_s)
        is_busy = self.spares_others and self._before != before
        return max(_BREATH_S, _REST_SHARE * took_s) if is_busy else _BREATH_S

    def catch_up(self) -> None:
        """Index all that the views cover now."""
        while self.step():
            pass

    def step(self) -> bool:
        """Index some calls of each ledger; say whether there was anything to do."""
        if self._keeper.lives():
            done, filled = self._progress()
            self._standstill.look(filled, done, time.monotonic())
            return False
        with self._database.indexing() as is_ours:
            if not is_ours:
                return False
            done, filled = self._progress()
            behind = [each for each, size in filled.items() if done.get(each, 0) < size]
            for ledger_id in behind[:_LEDGERS]:
                if self._closing.is_set():
                    return False
                self._index(ledger_id, done.get(ledger_id, 0), filled[ledger_id])
            return bool(behind)

    def _progress(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return how far each ledger's full text has come, and how far its views have."""
        return self._views.search.all_progress(), self._views.all_progress()

    def _index(self, ledger_id: int, start: int, filled: int) -> None:
        search = self._views.search
        end = min(start + _WIDE_ENTRIES, filled)
        calls = search.to_read(ledger_id, start, end, _ENTRIES + 1)
        if len(calls) > _ENTRIES:
            end = min(start + _ENTRIES, filled)
            calls = search.to_read(ledger_id, start, end, _ENTRIES)
        texts: list[CallText] = []
        if calls:
            ledger = self._find(ledger_id)
            wanted = sorted({index for call in calls for index in call if index is not None})
            said = {seen.index: words_of(seen, parts) for seen, parts in ledger.look_into(wanted)}
            texts = [call_text(index, end_index, said) for index, end_index in calls]
        ended = [index for index, end_index in calls if index < start]
        search.fill(ledger_id, start, end, texts, ended)
