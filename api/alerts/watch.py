"""Watches calls go by, keeps alerts in the log, and has them sent; beside everything else.

::

    feed --> thread: rules --> alert/1 in the log --> backlog, bounded --> thread: webhook

The first thread never waits for the webhook. Of several processes that see the same thing, the
one whose record is in the log sends it. If the log takes no record, the alert is sent all the
same: then it matters most.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

import structlog

from api.alerts.payloads import to_plain
from api.alerts.rules import Raised, Rules
from api.alerts.targets import Undelivered
from api.alerts.webhook import Webhook
from api.feed import Backlog, Feed
from ledger_core.clock import Clock, now_ms
from ledger_core.errors import ConflictError, LedgerGridError, NotFoundError
from ledger_core.ledger import Ledger
from ledger_core.policy.alerting import seal_alert

log = structlog.get_logger("ledgergrid")

_CALLS = 10_000
_ALERTS = 200
_AT_ONCE = 1_000
_LOOK_S = 0.2
_SPENDING_S = 5.0
_LAG_S = 3.0
"""How far what is read of spending may be behind the calls that went by."""


@dataclass(frozen=True)
class Sources:
    """Where alerts are kept, and where a day's spending is read; both blocking."""

    ledger: Callable[[], Ledger]
    spending: Callable[[int], int | None] | None = None
    """Takes the time, gives micro-USD spent on its UTC day."""


class AlertWatch:
    """Two threads; ``on_alert`` hears of what became of alerts: ``raised``, ``delivered``…"""

    def __init__(
        self,
        feed: Feed,
        rules: Rules,
        sources: Sources,
        webhook: Webhook | None,
        *,
        clock: Clock = now_ms,
        on_alert: Callable[[str, str], None] = lambda kind, outcome: None,
    ) -> None:
        self._calls = feed.subscribe("alerts", _CALLS)
        self._rules = rules
        self._sources = sources
        self.webhook = webhook
        self._clock = clock
        self._on_alert = on_alert
        self._alerts: Backlog[Raised] = Backlog(_ALERTS)
        self._read_s = self._called_s = -_SPENDING_S
        self._closing = threading.Event()
        self._is_done = threading.Event()
        self._stop_sending: Callable[[], object] = self._is_done.set
        self._watching = threading.Thread(target=self._watch, name="alerts-watch", daemon=True)
        self._sending = threading.Thread(target=self._send, name="alerts-send", daemon=True)

    def start(self) -> None:
        self._watching.start()
        if self.webhook is not None:
            self._sending.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Judge and record what is there, and send as much as goes within this time."""
        end_s = time.monotonic() + timeout_s
        self._closing.set()
        for thread in (self._watching, self._sending):
            if thread.is_alive():
                thread.join(max(0.0, end_s - time.monotonic()))
        self._is_done.set()
        for raised in self._alerts.take(_ALERTS):
            self._on_alert(raised.alert.type, "dropped")
        if self._sending.is_alive():
            self._stop_sending()

    # --- watching ----------------------------------------------------------------

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK_S):
            self._look()
        self._look()
        self._is_done.set()

    def _look(self) -> None:
        """Judge what went by; a mistake of ours costs one round, and is told."""
        try:
            while calls := self._calls.take(_AT_ONCE):
                self._called_s = time.monotonic()
                for ended in calls:
                    self._raise(self._rules.judge(ended, self._clock()))
            self._look_at_spending()
        except Exception:
            log.exception("looking for alerts failed")

    def _look_at_spending(self) -> None:
        read, now_s = self._sources.spending, time.monotonic()
        is_new = self._read_s < self._called_s + _LAG_S
        if read is None or not is_new or now_s < self._read_s + _SPENDING_S:
            return
        self._read_s = now_s
        now = self._clock()
        try:
            spent = read(now)
        except LedgerGridError as error:
            log.warning("the day's spending cannot be read", error=str(error))
            return
        if spent is not None:
            self._raise(self._rules.judge_day(spent, now))

    def _raise(self, found: list[Raised]) -> None:
        for raised in found:
            if self._record(raised):
                self._on_alert(raised.alert.type, "raised")
                if self.webhook is not None and self._alerts.put(raised):
                    self._on_alert(raised.alert.type, "dropped")

    def _record(self, raised: Raised) -> bool:
        """Keep an alert in the log; say whether it is ours to send."""
        try:
            ledger = self._sources.ledger()
            outcome = ledger.append_sealed(
                lambda origin, key: seal_alert(
                    origin, raised.alert, raised.scope, raised.since_ms, key
                )
            )
        except ConflictError:
            return False  # Another process saw it first.
        except NotFoundError:
            return True  # Not one call has been recorded yet: there is no ledger to keep it in.
        except LedgerGridError as error:
            log.warning("an alert cannot be kept", type=raised.alert.type, error=str(error))
            return True
        return outcome.is_new

    # --- sending -----------------------------------------------------------------

    def _send(self) -> None:
        # Left in the middle of a try where closing took too long.
        with suppress(asyncio.CancelledError):
            asyncio.run(self._send_all())

    async def _send_all(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._stop_sending = lambda: loop.call_soon_threadsafe(task.cancel)
        while not self._is_done.is_set() or len(self._alerts):
            for raised in self._alerts.take(1):
                await self._send_one(raised)
            if not len(self._alerts):
                await asyncio.sleep(_LOOK_S)

    async def _send_one(self, raised: Raised) -> None:
        assert self.webhook is not None
        kind = raised.alert.type
        scope = sha256(raised.scope.encode()).hexdigest()[:16]
        key = f"ledgergrid-{kind}-{scope}-{raised.since_ms}"
        try:
            await self.webhook.deliver(to_plain(raised.alert), key)
        except Undelivered as error:
            log.warning("an alert was not delivered", type=kind, reason=str(error))
            self._on_alert(kind, "failed")
        else:
            self._on_alert(kind, "delivered")
