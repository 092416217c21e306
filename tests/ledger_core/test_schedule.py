"""The schedule: what would go is told first, what is held stays, and nothing due writes nothing."""

from __future__ import annotations

import msgspec

from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.types.hold import Hold
from ledger_core.schedule import Due
from ledger_core.storage.erasures import Erased
from tests.ledger_core.test_changes import digest
from tests.ledger_core.test_eraser import Bureau, act
from tests.support.ledgers import Service

NOTES = MutabilitySetting(type="note/1", hold=("operator",), keep_s={"body": 60})
EVERYTHING = MutabilitySetting(type="*", keep_s={"body": 60})
EARLIER = 61_000


def plan(office: Bureau) -> list[Due]:
    return office.replica.ledgers.schedule.plan(office.ledger)


def run(office: Bureau) -> list[tuple[int, int]]:
    """Order what is due; return of each order its index and how many parts it takes."""
    done = office.replica.ledgers.schedule.run(office.ledger)
    return [(placed.index, due.count) for due, placed in done]


def test_a_plan_tells_what_would_go_and_changes_nothing(service: Service) -> None:
    office = Bureau(service, NOTES)
    first = service.clock.now_ms
    notes = [office.note(n) for n in range(3)]
    act(office, "kept for ever")
    assert plan(office) == []
    service.clock.now_ms += 30_000
    notes.append(office.note("later"))
    service.clock.now_ms += 31_000
    size = office.ledger.size()
    (due,) = plan(office)
    assert (due.type, due.part, due.keep_s, due.count, due.held) == ("note/1", "body", 60, 3, 0)
    assert (due.oldest, due.newest) == (first, first)
    assert office.ledger.size() == size
    assert office.ledger.entry(notes[0].index).parts


def test_what_is_due_is_ordered_once(service: Service) -> None:
    office = Bureau(service, NOTES)
    notes = [office.note(n) for n in range(3)]
    service.clock.now_ms += EARLIER
    ((order, count),) = run(office)
    assert count == 3
    service.clock.now_ms += EARLIER
    assert run(office) == []
    assert office.work() is None
    assert office.ledger.size() == order + 2
    for each in notes:
        assert office.ledger.entry(each.index).gone == {"body": Erased(order)}


def test_what_is_held_is_spared_until_it_is_released(service: Service) -> None:
    office = Bureau(service, NOTES)
    notes = [office.note(n) for n in range(3)]
    held = msgspec.json.encode(Hold("hold", (digest(notes[1]),), "case"))
    office.ledger.append_as_operator("hold/1", held)
    service.clock.now_ms += EARLIER
    assert [(each.count, each.held) for each in plan(office)] == [(2, 1)]
    run(office)
    service.clock.now_ms += 1
    assert [(each.count, each.held) for each in plan(office)] == [(0, 1)]
    assert run(office) == []
    released = msgspec.json.encode(Hold("release", (digest(notes[1]),), "case"))
    office.ledger.append_as_operator("hold/1", released)
    ((order, count),) = run(office)
    assert count == 1
    assert office.ledger.entry(notes[1].index).gone == {"body": Erased(order)}


def test_a_setting_for_every_type_leaves_governance_alone(service: Service) -> None:
    office = Bureau(service, EVERYTHING)
    office.note("a note")
    act(office, "an action")
    service.clock.now_ms += EARLIER
    assert {(each.type, each.count) for each in plan(office)} == {
        ("note/1", 1),
        ("agent.action/1", 1),
    }
    assert len(run(office)) == 2
    assert office.work() is None
    assert office.ledger.entry(0).parts.keys() == {"body"}


def test_the_service_orders_by_itself_once_an_interval(service: Service) -> None:
    office = Bureau(service, NOTES)
    note = office.note("first")
    service.clock.now_ms += EARLIER
    schedule = office.replica.ledgers.schedule
    assert schedule.order_due() is None
    assert office.ledger.entry(note.index).parts
    schedule._interval_s = 3600
    assert office.work() is None
    assert office.ledger.entry(note.index).parts == {}
    assert office.types(2) == ["retention/1", "erasure.done/1"]
