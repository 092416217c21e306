"""The feed hands on what ended, bounded, and whoever publishes waits for nobody."""

from __future__ import annotations

import threading

from api.feed import CONTENT_BYTES, Backlog, Ended, Feed
from ledger_core.llm.model import Answered, Asked
from tests.support.ended import make_call


def ended(index: int, content_bytes: int = 0) -> Ended:
    return Ended(make_call(), index, Asked(), Answered(), content_bytes)


def test_every_reader_gets_every_call_in_order() -> None:
    feed = Feed()
    readers = [feed.subscribe("spans", 10), feed.subscribe("alerts", 10)]
    for index in range(3):
        feed.publish(ended(index))
    assert [[each.index for each in reader.take(10)] for reader in readers] == [[0, 1, 2]] * 2
    assert readers[0].take(10) == []


def test_a_reader_takes_no_more_than_it_wants_at_once() -> None:
    feed = Feed()
    reader = feed.subscribe("spans", 10)
    for index in range(5):
        feed.publish(ended(index))
    assert [each.index for each in reader.take(2)] == [0, 1]
    assert len(reader) == 3


def test_a_full_queue_loses_its_oldest_and_each_loss_is_counted() -> None:
    lost: list[tuple[str, int]] = []
    feed = Feed(on_drop=lambda name, count: lost.append((name, count)))
    slow, quick = feed.subscribe("slow", 2), feed.subscribe("quick", 10)
    for index in range(5):
        feed.publish(ended(index))
    assert [each.index for each in slow.take(10)] == [3, 4]
    assert len(quick.take(10)) == 5
    assert lost == [("slow", 1)] * 3
    assert (slow.dropped, quick.dropped) == (3, 0)


def test_a_queue_of_long_prompts_is_bounded_in_bytes_too() -> None:
    feed = Feed()
    reader = feed.subscribe("spans", 1000, wants_content=True)
    for index in range(10):
        feed.publish(ended(index, CONTENT_BYTES // 4))
    assert [each.index for each in reader.take(100)] == [6, 7, 8, 9]
    feed.publish(ended(10, CONTENT_BYTES + 1))
    feed.publish(ended(11, 1))
    assert [each.index for each in reader.take(100)] == [11]
    assert reader.dropped == 7


def test_what_was_said_goes_only_to_those_who_ask_for_it() -> None:
    feed = Feed()
    plain, curious = feed.subscribe("alerts", 9), feed.subscribe("spans", 9, wants_content=True)
    feed.publish(ended(7, 100))
    assert plain.take(1) == [Ended(make_call(), 7)]
    assert curious.take(1) == [ended(7, 100)]


def test_publishing_waits_for_no_reader() -> None:
    """A reader that never comes by costs the publisher microseconds a call."""
    feed = Feed()
    feed.subscribe("stuck", 1000)
    for index in range(20_000):
        feed.publish(ended(index))


def test_no_call_is_lost_or_doubled_between_threads() -> None:
    feed = Feed()
    reader = feed.subscribe("spans", 100_000)

    def publish(start: int) -> None:
        for index in range(start, start + 2000):
            feed.publish(ended(index))

    threads = [threading.Thread(target=publish, args=(n * 2000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    while any(thread.is_alive() for thread in threads) or len(reader):
        seen += [each.index for each in reader.take(64)]
    assert sorted(seen) == list(range(8000))


def test_every_call_is_told_at_once_too() -> None:
    told: list[int] = []
    feed = Feed(on_ended=lambda ended: told.append(ended.index))
    feed.publish(ended(3))
    assert told == [3]


def test_what_is_taken_at_once_is_bounded_in_bytes_but_one_is_always_taken() -> None:
    backlog: Backlog[str] = Backlog(10)
    for name, weight in (("a", 90), ("b", 5), ("c", 5), ("d", 1)):
        backlog.put(name, weight)
    assert [backlog.take(10, 10), backlog.take(10, 10), backlog.take(10, 10)] == [
        ["a"],
        ["b", "c"],
        ["d"],
    ]
