"""The schedule: says which parts' time is up, and orders them to be erased.

How long a part is kept is said by the ``mutability/1`` in force (``keep_s``). An order takes all
that is due at once but what is held; released entries are taken by the next order, which reaches
further because time went on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from ledger_core import clock
from ledger_core.clock import Clock
from ledger_core.erased import NOW
from ledger_core.errors import LedgerGridError
from ledger_core.formats.entry import parse_entry
from ledger_core.ledger import Ledger
from ledger_core.policy.constitution import Constitution
from ledger_core.reached import read_due
from ledger_core.records import registry
from ledger_core.records.rules import EVERY_TYPE
from ledger_core.records.types.retention import RETENTION_1, Retention
from ledger_core.sequencer import Appended
from ledger_core.storage import store
from ledger_core.storage.database import Database


class Due(msgspec.Struct, frozen=True):
    """A part of a type whose time is up in ``count`` entries; ``held`` more are spared.

    ``oldest``, ``newest``: when the first and the last of them were received (ms).
    """

    type: str
    part: str
    keep_s: int
    before: str
    count: int
    held: int
    oldest: int
    newest: int


class Schedule:
    """``each_ledger`` goes through the ledgers of a service. ``interval_s`` 0: only by hand."""

    def __init__(
        self,
        database: Database,
        each_ledger: Callable[[], Iterator[Ledger]],
        now: Clock,
        interval_s: int,
    ) -> None:
        self._database = database
        self._each_ledger = each_ledger
        self._now = now
        self._interval_s = interval_s
        self._next_s = time.monotonic() + interval_s

    def order_due(self) -> LedgerGridError | None:
        """Order what is due in all ledgers, once an interval; return what kept it from that.

        Call it while nobody else erases, or two processes order the same twice.
        """
        if not self._interval_s or time.monotonic() < self._next_s:
            return None
        self._next_s = time.monotonic() + self._interval_s
        failure: LedgerGridError | None = None
        for ledger in self._each_ledger():
            try:
                self.run(ledger)
            except LedgerGridError as error:
                failure = error
        return failure

    def plan(self, ledger: Ledger) -> list[Due]:
        """Return what an order now would take, by type and part; order nothing."""
        constitution = ledger.constitution()
        found = [
            self._count(ledger, constitution, type_name, part, keep_s)
            for type_name, part, keep_s in _kept(constitution)
        ]
        return [each for each in found if each.count or each.held]

    def run(self, ledger: Ledger) -> list[tuple[Due, Appended]]:
        """Order what is due in one ledger, of its operator's own; nothing where nothing is due."""
        constitution = ledger.constitution()
        kept = list(_kept(constitution))
        if not kept or constitution.closed is not None or not ledger.is_operated_here():
            return []
        ordered: list[tuple[Due, Appended]] = []
        for type_name, part, keep_s in kept:
            if _is_proposed(constitution, type_name, part):
                continue  # Others have to agree to the last order first.
            due = self._count(ledger, constitution, type_name, part, keep_s)
            if due.count:
                body = msgspec.json.encode(Retention(type_name, part, due.before))
                ordered.append((due, ledger.append_as_operator(RETENTION_1.name, body)))
        return ordered

    def _count(
        self, ledger: Ledger, constitution: Constitution, type_name: str, part: str, keep_s: int
    ) -> Due:
        before = max(0, self._now() - keep_s * 1000)
        order = Retention(type_name, part, clock.format_time(before))
        earlier = constitution.retentions.get((type_name, part), ())
        first = last = None
        count = held = 0
        if not earlier or earlier[-1][1] < before:
            for targets, spared in read_due(self._database, ledger.ledger_id, constitution, order):
                count, held = count + len(targets), held + spared
                indexes = [each.index for each in targets]
                first = min([*indexes, *([] if first is None else [first])], default=None)
                last = max([*indexes, *([] if last is None else [last])], default=None)
        return Due(
            type=type_name,
            part=part,
            keep_s=keep_s,
            before=order.received_before,
            count=count,
            held=held,
            oldest=self._received_at(ledger, first),
            newest=self._received_at(ledger, last),
        )

    def _received_at(self, ledger: Ledger, index: int | None) -> int:
        if index is None:
            return 0
        with self._database.read() as tx:
            leaf = store.read_leaves(tx, ledger.ledger_id, index, index + 1)[0]
        return parse_entry(leaf).header.received_at


def _kept(constitution: Constitution) -> Iterator[tuple[str, str, int]]:
    """Yield which parts of which types are kept for how many seconds, as things stand."""
    for type_name in _settled(constitution):
        for part, keep_s in sorted(constitution.mutability_at(type_name, NOW).keep_s.items()):
            yield type_name, part, keep_s


def _settled(constitution: Constitution) -> list[str]:
    if EVERY_TYPE not in constitution.mutability:
        return sorted(constitution.mutability)
    return sorted(kind.name for kind in registry.ALL if not kind.is_governance)


def _is_proposed(constitution: Constitution, type_name: str, part: str) -> bool:
    waiting = (x.payload["body"] for x in constitution.waiting.values() if x.kind is RETENTION_1)
    return any((body.type, body.part) == (type_name, part) for body in waiting)
