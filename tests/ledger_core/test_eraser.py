"""Orders to erase are carried out: keys, ciphertext and views go, the entry and its proofs stay."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import select, text

from ledger_core import clock, ids
from ledger_core.errors import (
    ErasedError,
    LedgerGridError,
    ReadOnlyError,
    StandingError,
    StorageError,
)
from ledger_core.policy.visibility import read_subject
from ledger_core.records.model import decode_part
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.targets import Parts
from ledger_core.records.types.erasure import Erasure
from ledger_core.records.types.erasure_done import ERASURE_DONE_1, ErasureDone
from ledger_core.records.types.hold import Hold
from ledger_core.records.types.retention import Retention
from ledger_core.sequencer import Appended
from ledger_core.storage import tables as t
from ledger_core.storage.erasures import Erased
from ledger_core.storage.search import EntryQuery
from ledger_core.storage.store import Gone
from tests.ledger_core.test_changes import EVERYTHING, Office, digest, parts
from tests.support.ledgers import Replica, Service, appended, refused, register
from tests.support.tampering import drop_guards

CALLS = MutabilitySetting(type="agent.action/1", erase=("author",), keep_s={"body": 60})


class Bureau(Office):
    """An office with an eraser that works when it is told to."""

    def __init__(self, service: Service, setting: MutabilitySetting = EVERYTHING) -> None:
        super().__init__(service, setting)
        self.replica: Replica = service._open[-1]
        self.replica.ledgers.eraser.close()

    def erase(self, *entries: Appended) -> Appended:
        targets = tuple(each for entry in entries for each in parts(entry))
        return self.change("erasure/1", Erasure(targets, "request"))

    def work(self) -> LedgerGridError | None:
        eraser = self.replica.ledgers.eraser
        eraser._closing.clear()
        return eraser.erase_due()

    def rows(self) -> int:
        with self.replica.database.read() as tx:
            return len(tx.execute(select(t.payloads.c.index)).all())

    def done(self, order: Appended) -> ErasureDone:
        at = self.effect(order).done_at
        assert at is not None
        entry = self.ledger.entry(at)
        assert read_subject(at, entry.leaf).type == "erasure.done/1"
        body: ErasureDone = decode_part(
            ERASURE_DONE_1, "body", "application/json", entry.parts["body"].data
        )
        assert body.order == digest(order)
        return body


def test_from_the_order_on_a_part_is_erased_for_readers_while_it_is_still_stored(
    service: Service,
) -> None:
    office = Bureau(service)
    first, other = office.note("first"), office.note("other")
    order = office.erase(first)
    assert office.ledger.entry(first.index).gone == {"body": Erased(order.index)}
    assert office.ledger.entry(first.index).parts == {}
    assert office.ledger.entry(other.index).parts.keys() == {"body"}
    keys = office.replica.keys
    assert keys.find_destroyed([commitment(office, first)]) == {}


def commitment(office: Bureau, entry: Appended) -> bytes:
    with office.replica.database.read() as tx:
        found = tx.execute(
            select(t.erased.c.commitment).where(t.erased.c.index == entry.index)
        ).scalar()
    return found or bytes(32)


def test_an_order_is_carried_out_and_the_record_says_so(service: Service) -> None:
    office = Bureau(service)
    notes = [office.note(n) for n in range(5)]
    rows, receipt = office.rows(), office.ledger.receipt(notes[1].index)
    order = office.erase(*notes[:3])
    assert office.work() is None
    assert office.rows() == rows - 3 + 2  # The order and the record are governance and stay.
    done = office.done(order)
    assert (done.parts, done.stores, done.backups_until) == (3, ("keys", "payloads", "views"), None)
    assert office.ledger.entry(notes[1].index).gone == {"body": Erased(order.index)}
    assert office.ledger.receipt(notes[1].index) == receipt
    size = office.ledger.size()
    assert office.work() is None
    assert office.ledger.size() == size


def test_what_was_erased_is_never_taken_again(service: Service) -> None:
    office = Bureau(service)
    personal = office.agent.note("personal", salt=bytes(32))
    office.erase(appended(office.ledger.append([personal])[0]))
    office.work()
    again = office.agent.note("personal", salt=bytes(32))
    for ledger in (office.ledger, service.open().ledgers.get("main")):
        assert isinstance(refused(ledger.append([again])[0]), ErasedError)
    # The same record once more: a repetition, which brings nothing back.
    repeated = appended(office.ledger.append([personal])[0])
    assert not repeated.is_new
    assert office.ledger.entry(repeated.index).parts == {}


def test_columns_computed_from_an_erased_part_are_found_no_more(service: Service) -> None:
    office = Bureau(service, CALLS)
    placed = act(office, "send-marker")
    office.ledger.wait_until_searchable(placed.index + 1, 10)
    query = EntryQuery(type="agent.action/1", columns={"action": "send-marker"})
    assert office.ledger.search(query).indexes == [placed.index]
    order = office.erase(placed)
    assert office.work() is None
    assert office.ledger.search(query).indexes == []
    assert office.ledger.search(EntryQuery(type="agent.action/1")).indexes == [placed.index]
    assert office.done(order).parts == 1


def act(office: Office, action: str) -> Appended:
    body = msgspec.json.encode({"action": action, "status": "succeeded"})
    return appended(office.ledger.append([office.agent.seal("agent.action/1", {"body": body})])[0])


def test_the_manifest_names_earlier_exports_that_reach_a_part(service: Service) -> None:
    office = Bureau(service)
    first = office.note("first")
    assert b"".join(office.ledger.export(0, None, "auditor"))
    export = office.ledger.size() - 1
    assert b"".join(office.ledger.export(0, first.index, "other"))
    order = office.erase(first)
    assert b"".join(office.ledger.export(0, None, "later"))
    assert office.work() is None
    named = office.done(order).exports
    assert [office.ledger.index_of(each) for each in named] == [export]


def test_the_backup_horizon_is_what_the_operator_says(service: Service) -> None:
    office = Bureau(service)
    order = office.erase(office.note("first"))
    office.replica.ledgers.eraser._key_backup_days = 30
    office.work()
    until = office.done(order).backups_until
    assert until == clock.format_time(service.clock.now_ms + 30 * 86_400_000)


def test_the_schedule_takes_a_part_of_all_entries_but_those_that_are_held(
    service: Service,
) -> None:
    office = Bureau(service)
    notes = [office.note(n) for n in range(6)]
    hold(office, "hold", notes[2])
    service.clock.now_ms += 61_000
    late = office.note("late")
    first = retain(office)
    assert office.work() is None
    assert office.done(first).parts == 5
    shown = [each for each in (*notes, late) if office.ledger.entry(each.index).parts]
    assert shown == [notes[2], late]
    hold(office, "release", notes[2])
    assert office.ledger.entry(notes[2].index).parts
    service.clock.now_ms += 61_000
    second = retain(office)
    assert office.work() is None
    assert office.done(second).parts == 2
    assert office.ledger.entry(notes[2].index).gone == {"body": Erased(second.index)}


def hold(office: Office, action: str, entry: Appended) -> None:
    body = msgspec.json.encode(Hold(action, (digest(entry),), "case"))  # type: ignore[arg-type]
    office.ledger.append_as_operator("hold/1", body)


def retain(office: Office) -> Appended:
    before = clock.format_time(office.service.clock.now_ms - 60_000)
    body = msgspec.json.encode(Retention("note/1", "body", before))
    return office.ledger.append_as_operator("retention/1", body)


def test_what_an_order_named_before_the_schedule_came_counts_once(service: Service) -> None:
    office = Bureau(service)
    notes = [office.note(n) for n in range(3)]
    by_name = office.erase(notes[0])
    service.clock.now_ms += 61_000
    by_schedule = retain(office)
    assert office.work() is None
    assert (office.done(by_name).parts, office.done(by_schedule).parts) == (1, 2)
    assert office.ledger.entry(notes[0].index).gone == {"body": Erased(by_name.index)}


def test_a_key_that_is_there_again_is_destroyed_before_anything_is_served(
    service: Service,
) -> None:
    """An older key store restored beside the newer database."""
    office = Bureau(service)
    first = office.note("first")
    with office.replica.database.read() as tx:
        key_id = tx.execute(
            select(t.payloads.c.key_id).where(t.payloads.c.index == first.index)
        ).scalar_one()
    office.erase(first)
    office.work()
    keys = office.replica.keys
    with keys._database.write() as tx:
        tx.execute(text("UPDATE keys SET is_destroyed = 0, key = zeroblob(32)"))
        tx.execute(text("DELETE FROM destroyed"))
    assert key_id in keys.find([key_id])
    again = service.reopen()
    assert again.keys.find([key_id]) == {}
    assert again.keys.find_destroyed([commitment_in(again, first)])


def commitment_in(replica: Replica, entry: Appended) -> bytes:
    with replica.database.read() as tx:
        return bytes(
            tx.execute(
                select(t.erased.c.commitment).where(t.erased.c.index == entry.index)
            ).scalar_one()
        )


def test_a_row_that_is_gone_without_an_order_stops_the_appends_and_is_named(
    service: Service,
) -> None:
    office = Bureau(service)
    first = office.note("first")
    with office.replica.database.write() as tx:
        drop_guards(tx)
        tx.execute(text(f'DELETE FROM payloads WHERE "index" = {first.index}'))
    assert office.ledger.entry(first.index).gone == {"body": Gone.ROW}
    error = office.replica.ledgers.degraded()["main"]
    assert f"entry {first.index}: part body is missing" in str(error)
    with pytest.raises(ReadOnlyError):
        office.ledger.append([office.agent.note("more")])


def test_the_database_keeps_what_was_noted(service: Service) -> None:
    office = Bureau(service)
    office.erase(office.note("first"))
    office.work()
    for change in ('UPDATE erased SET "index" = 0', "DELETE FROM erased"):
        with pytest.raises(StorageError), office.replica.database.write() as tx:
            tx.execute(text(change))


def test_the_thread_erases_by_itself(service: Service) -> None:
    office = Office(service)
    first = office.note("first")
    order = office.change("erasure/1", Erasure(parts(first), "request"))
    office.ledger.wait_for(order.index + 1, 20)
    assert office.effect(order).done_at == order.index + 1


def test_what_may_not_be_erased_is_refused_and_recorded_and_stays(service: Service) -> None:
    """Under a hold, by somebody whom the setting does not name, and of a governance record."""
    office = Bureau(service)
    first, second = office.note("held"), office.note("another's")
    hold(office, "hold", first)
    stranger = register(office.ledger)
    charter = Parts(ids.format_digest(office.ledger.charter), ("body",))
    attempts = [
        (office.agent, parts(first)),
        (stranger, parts(second)),
        (office.agent, (charter,)),
    ]
    for author, targets in attempts:
        body = msgspec.json.encode(Erasure(targets, "request"))
        outcome = office.ledger.append([author.seal("erasure/1", {"body": body})])[0]
        assert isinstance(refused(outcome), StandingError)
        assert office.types(1) == ["refusal/1"]
    assert office.work() is None
    for index in (0, first.index, second.index):
        assert office.ledger.entry(index).parts.keys() == {"body"}
