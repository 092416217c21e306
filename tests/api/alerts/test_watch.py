"""Alerts from a call that went by to the log and the webhook, which holds nobody up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import msgspec
import pytest
from structlog.testing import capture_logs

from api.alerts.rules import Rules, Thresholds
from api.alerts.targets import parse_target
from api.alerts.watch import AlertWatch, Sources
from api.alerts.webhook import Pace, Webhook
from api.feed import Feed
from ledger_core.errors import NotFoundError, StorageError
from ledger_core.ledger import Ledger
from ledger_core.records.types.alert import Alert
from ledger_core.storage.search import EntryQuery
from tests.support.ended import make_ended
from tests.support.ledgers import START_MS, Service
from tests.support.webhooks import Hook, hooked

ASKED = Thresholds(cost_per_call_microusd=1_000_000, daily_spend_microusd=5_000_000)
DEAR = 2_000_000


class Watching:
    """A watch over a feed of its own, and what became of its alerts."""

    def __init__(
        self,
        ledger: Callable[[], Ledger],
        hook: Hook | None,
        *,
        try_s: float = 2.0,
        spending: Callable[[int], int | None] | None = None,
        clock: Callable[[], int] = lambda: START_MS,
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.feed = Feed()
        webhook = None
        if hook is not None:
            target = parse_target(f"http://127.0.0.1:{hook.port}/x", allows_private=True)
            webhook = Webhook(target, pace=Pace(try_s=try_s, pause_s=0.01))
        self.watch = AlertWatch(
            self.feed,
            Rules(ASKED),
            Sources(ledger, spending),
            webhook,
            clock=clock,
            on_alert=lambda kind, outcome: self.outcomes.update({outcome: 1}),
        )

    def settle(self) -> None:
        """Finish all that is there."""
        self.watch.close(timeout_s=10)


@contextmanager
def watching(*made: Watching) -> Iterator[None]:
    for each in made:
        each.watch.start()
    with ExitStack() as held:
        for each in made:
            held.callback(each.watch.close, 2)
        yield


def kept(ledger: Ledger) -> list[Alert]:
    ledger.wait_until_searchable(ledger.size(), 10)
    page = ledger.search(EntryQuery(type="alert/1"))
    return [
        msgspec.json.decode(each.parts["alert"].data, type=Alert)
        for each in ledger.entries(page.indexes)
    ]


def test_an_alert_is_kept_in_the_log_and_sent(ledger: Ledger) -> None:
    with hooked() as hook:
        made = Watching(lambda: ledger, hook)
        with watching(made):
            made.feed.publish(make_ended(cost_microusd=DEAR))
            (body,) = hook.wait_for(1)
        made.settle()
    (alert,) = kept(ledger)
    assert (alert.type, alert.value, alert.action_id) == ("high_cost", DEAR, "act-1")
    assert (body["type"], body["value"], body["threshold"]) == ("high_cost", 2.0, 1.0)
    assert body["timestamp"] == alert.timestamp
    assert made.outcomes == {"raised": 1, "delivered": 1}


def test_of_two_processes_that_see_the_same_one_sends(service: Service) -> None:
    service.open().ledgers.create("calls")
    ledgers = [service.open().ledgers.get("calls") for _ in range(2)]
    with hooked() as hook:
        # Each says it in its own words: other calls, other times, the same agent and window.
        first = Watching(lambda: ledgers[0], hook, clock=lambda: START_MS)
        second = Watching(lambda: ledgers[1], hook, clock=lambda: START_MS + 5)
        with watching(first, second):
            for each, name in ((first, "act-1"), (second, "act-2")):
                each.feed.publish(make_ended(cost_microusd=DEAR, action_id=name))
            hook.wait_for(1)
            first.settle()
            second.settle()
    assert len(hook.bodies) == 1
    assert len(kept(ledgers[0])) == 1
    assert first.outcomes + second.outcomes == {"raised": 1, "delivered": 1}


def test_a_process_that_starts_again_does_not_tell_the_same_again(ledger: Ledger) -> None:
    with hooked() as hook:
        for n in range(3):
            made = Watching(lambda: ledger, hook, clock=lambda n=n: START_MS + n)  # type: ignore[misc]
            with watching(made):
                made.feed.publish(make_ended(cost_microusd=DEAR))
                made.settle()
    assert len(hook.bodies) == 1
    assert len(kept(ledger)) == 1


def test_without_a_webhook_alerts_are_kept_all_the_same(ledger: Ledger) -> None:
    made = Watching(lambda: ledger, None)
    with watching(made):
        made.feed.publish(make_ended(cost_microusd=DEAR))
        made.settle()
    assert len(kept(ledger)) == 1
    assert made.outcomes == {"raised": 1}


def refuse(error: Exception) -> Callable[[], Ledger]:
    def ledger() -> Ledger:
        raise error

    return ledger


@pytest.mark.parametrize("error", [StorageError("away"), NotFoundError("no ledger yet")])
def test_an_alert_that_cannot_be_kept_is_sent_all_the_same(error: Exception) -> None:
    with hooked() as hook:
        made = Watching(refuse(error), hook)
        with watching(made):
            for _ in range(3):
                made.feed.publish(make_ended(cost_microusd=DEAR))
            hook.wait_for(1)
            made.settle()
    assert len(hook.bodies) == 1


def test_a_webhook_that_hangs_delays_nothing(ledger: Ledger) -> None:
    """Ten thousand calls go by, and alerts are kept, while the first post is not answered."""
    with hooked() as hook:
        hook.hang_s = 30
        made = Watching(lambda: ledger, hook, try_s=20)
        with watching(made):
            began_s = time.perf_counter()
            for n in range(10_000):
                made.feed.publish(make_ended(cost_microusd=DEAR, agent_name=f"agent-{n % 50}"))
            took_s = time.perf_counter() - began_s
            end_s = time.monotonic() + 20
            while made.outcomes["raised"] < 50 and time.monotonic() < end_s:
                time.sleep(0.02)
            closing_s = time.monotonic()
        # Whoever waited for the post would have waited 20 seconds.
        assert time.monotonic() - closing_s < 10
        made.watch._sending.join(5)
        assert not made.watch._sending.is_alive()
    assert took_s < 10
    assert made.outcomes["raised"] == 50
    assert made.outcomes["delivered"] == 0
    assert len(kept(ledger)) == 50


def test_alerts_that_wait_are_bounded_and_the_newest_stay() -> None:
    with hooked() as hook:
        hook.hang_s = 30
        made = Watching(refuse(NotFoundError("none")), hook, try_s=20)
        with watching(made):
            for n in range(500):
                made.feed.publish(make_ended(cost_microusd=DEAR, agent_name=f"agent-{n}"))
            end_s = time.monotonic() + 10
            while made.outcomes["raised"] < 500 and time.monotonic() < end_s:
                time.sleep(0.02)
            assert made.outcomes["dropped"] >= 500 - 200 - 1


def test_an_alert_that_does_not_arrive_is_told_without_the_url(ledger: Ledger) -> None:
    with hooked() as hook, capture_logs() as lines:
        hook.statuses = [404]
        made = Watching(lambda: ledger, hook)
        with watching(made):
            made.feed.publish(make_ended(cost_microusd=DEAR))
            hook.wait_for(1)
            made.settle()
    assert made.outcomes == {"raised": 1, "failed": 1}
    assert "answered 404" in str(lines)
    assert "/x" not in str(lines)


def test_a_days_spending_is_read_beside_the_calls(ledger: Ledger) -> None:
    read: list[int] = []

    def spending(now_ms: int) -> int:
        read.append(now_ms)
        return 6_000_000

    made = Watching(lambda: ledger, None, spending=spending)
    with watching(made):
        for _ in range(1000):
            made.feed.publish(make_ended())
        time.sleep(0.7)
        made.settle()
    (alert,) = kept(ledger)
    assert (alert.type, alert.value, alert.threshold) == ("daily_spend", 6_000_000, 5_000_000)
    # Not once a call.
    assert len(read) == 1


def test_spending_that_cannot_be_read_is_told_and_costs_no_other_alert() -> None:
    def spending(now_ms: int) -> int:
        raise StorageError("the database is away")

    made = Watching(refuse(NotFoundError("none")), None, spending=spending)
    with capture_logs() as lines, watching(made):
        made.feed.publish(make_ended(cost_microusd=DEAR))
        made.settle()
    assert "spending cannot be read" in str(lines)
    assert made.outcomes["raised"] == 1
