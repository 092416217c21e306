"""What was just appended is kept for the follower: within bounds, and only while it is needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger_core import follower
from ledger_core.follower import Follower
from ledger_core.formats import record as records
from ledger_core.formats.record import Record
from ledger_core.fresh import FreshEntries
from ledger_core.storage.search import EntryQuery
from ledger_core.viewing import Seen
from tests.support.ledgers import Service, append_notes, register

PATIENCE_S = 30


def seen(index: int, size: int = 10) -> Seen:
    ref, _ = records.make_part(b"x" * size, "application/json")
    record = Record(
        v=1, ledger="", id="", type="note/1", author="", made_at="", payload={"body": ref}
    )
    return Seen(index, bytes(32), 0, record, {"body": None})


def indexes(entries: list[Seen]) -> list[int]:
    return [each.index for each in entries]


def test_entries_are_taken_in_order_up_to_the_first_that_is_missing() -> None:
    fresh = FreshEntries()
    fresh.add(1, [seen(7), seen(5), seen(6), seen(9)])
    assert indexes(fresh.take(1, 5, 2)) == [5, 6]
    assert indexes(fresh.take(1, 7, 100)) == [7]
    assert indexes(fresh.take(1, 8, 100)) == []
    assert indexes(fresh.take(1, 5, 100)) == []


def test_ledgers_do_not_mix() -> None:
    fresh = FreshEntries()
    fresh.add(1, [seen(5)])
    assert indexes(fresh.take(2, 5, 1)) == []
    assert indexes(fresh.take(1, 5, 1)) == [5]


def test_what_another_process_has_seen_is_dropped() -> None:
    fresh = FreshEntries()
    fresh.add(1, [seen(5), seen(6)])
    fresh.add(2, [seen(5)])
    fresh.drop(1, 6)
    assert indexes(fresh.take(1, 5, 1)) == []
    assert indexes(fresh.take(1, 6, 1)) == [6]
    assert indexes(fresh.take(2, 5, 1)) == [5]


def test_the_oldest_make_room_for_newer_ones_in_number_and_in_bytes() -> None:
    few = FreshEntries(most=2)
    few.add(1, [seen(5), seen(6), seen(7)])
    assert indexes(few.take(1, 5, 3)) == []
    assert indexes(few.take(1, 6, 3)) == [6, 7]
    small = FreshEntries(most_bytes=100)
    small.add(1, [seen(5, 60), seen(6, 60)])
    assert indexes(small.take(1, 5, 3)) == []
    assert indexes(small.take(1, 6, 3)) == [6]
    small.add(1, [seen(8, 101)])
    assert indexes(small.take(1, 8, 1)) == []
    small.add(1, [seen(9, 100)])
    assert indexes(small.take(1, 9, 1)) == [9]


@pytest.fixture
def nothing_stored_is_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[range]]:
    read: list[range] = []
    read_stored = Follower._rows_of_stored

    def counted(self: Follower, tx: object, ledger_id: int, wanted: range) -> object:
        read.append(wanted)
        return read_stored(self, tx, ledger_id, wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(Follower, "_rows_of_stored", counted)
    yield read


def test_views_of_what_this_process_appended_are_made_without_reading_it(
    service: Service, nothing_stored_is_read: list[range]
) -> None:
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    assert ledger.wait_until_searchable(2, PATIENCE_S) >= 2
    nothing_stored_is_read.clear()
    append_notes(ledger, author, 20)
    assert ledger.wait_until_searchable(22, PATIENCE_S) == 22
    assert len(ledger.search(EntryQuery(type="note/1")).indexes) == 20
    assert nothing_stored_is_read == []


def test_what_is_not_what_the_database_has_is_read(
    service: Service, nothing_stored_is_read: list[range], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    assert ledger.wait_until_searchable(2, PATIENCE_S) >= 2
    nothing_stored_is_read.clear()
    monkeypatch.setattr(follower, "_is_stored", lambda *_: False)
    append_notes(ledger, author, 3)
    assert ledger.wait_until_searchable(5, PATIENCE_S) == 5
    assert len(ledger.search(EntryQuery(type="note/1")).indexes) == 3
    assert nothing_stored_is_read
