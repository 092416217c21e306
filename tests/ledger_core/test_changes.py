"""Changes of earlier entries on real databases: what was refused, what holds, and from when."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from ledger_core import clock, ids, limits
from ledger_core.errors import DanglingReferenceError, HeadMovedError, StandingError
from ledger_core.formats.record import Relation
from ledger_core.ledger import Ledger
from ledger_core.policy.effects import Effect
from ledger_core.policy.visibility import read_subject
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.targets import Parts
from ledger_core.records.types.charter import Founding
from ledger_core.records.types.erasure import Erasure
from ledger_core.records.types.erasure_done import ErasureDone
from ledger_core.records.types.hold import Hold
from ledger_core.records.types.mutability import MutabilityChange
from ledger_core.records.types.redaction import Redact, Unredact
from ledger_core.records.types.retention import Retention
from ledger_core.records.types.rollback import Rollback
from ledger_core.sequencer import Appended
from tests.support.assemblies import make_policy
from tests.support.consortium import Consortium
from tests.support.ledgers import Service, append_notes, appended, refused, register

EVERYTHING = MutabilitySetting(
    type="note/1",
    amend=("author",),
    roll_back=("author",),
    redact=("author", "operator"),
    erase=("author", "operator"),
    hold=("operator",),
    keep_s={"body": 60},
)


class Office:
    """A private ledger with one agent, whose notes may be changed."""

    def __init__(self, service: Service, setting: MutabilitySetting = EVERYTHING) -> None:
        self.service = service
        self.ledger: Ledger = service.open().ledgers.create(
            "main", founding=Founding(mutability=(setting,))
        )
        self.agent = register(self.ledger)

    def note(self, value: object, amends: bytes | None = None) -> Appended:
        refs: list[tuple[Relation, bytes]] = [("amends", amends)] if amends is not None else []
        return appended(self.ledger.append([self.agent.note(value, refs=refs)])[0])

    def change(self, type_name: str, body: object) -> Appended:
        sealed = self.agent.seal(type_name, {"body": msgspec.json.encode(body)})
        return appended(self.ledger.append([sealed])[0])

    def refuse(self, type_name: str, body: object) -> Exception:
        sealed = self.agent.seal(type_name, {"body": msgspec.json.encode(body)})
        return refused(self.ledger.append([sealed])[0])

    def effect(self, entry: Appended) -> Effect:
        return self.ledger.effects([entry.index])[entry.index]

    def types(self, count: int) -> list[str]:
        size = self.ledger.size()
        return types_of(self.ledger, range(size - count, size))


def types_of(ledger: Ledger, indexes: Sequence[int] | range) -> list[str]:
    return [read_subject(each.index, each.leaf).type for each in ledger.entries(indexes)]


def digest(entry: Appended) -> str:
    return ids.format_digest(entry.leaf_hash)


def parts(entry: Appended) -> tuple[Parts, ...]:
    return (Parts(digest(entry), ("body",)),)


def test_an_amendment_is_the_new_version_and_a_rollback_brings_back_the_old(
    service: Service,
) -> None:
    office = Office(service)
    first = office.note("first")
    second = office.note("second", first.leaf_hash)
    assert office.effect(first).version_at(first.index, second.index + 1) == second.leaf_hash
    back = office.change("rollback/1", Rollback((digest(first),), second.index))
    assert office.effect(first).version_at(first.index, back.index + 1) == first.leaf_hash
    forth = office.change("rollback/1", Rollback((digest(first),), back.index))
    effect = office.effect(first)
    assert effect.version_at(first.index, forth.index + 1) == second.leaf_hash
    assert effect.version_at(first.index, second.index) == first.leaf_hash
    assert effect.version_at(first.index, first.index) is None


def test_an_amendment_names_the_current_version_or_is_refused_with_it(service: Service) -> None:
    office = Office(service)
    first = office.note("first")
    second = office.note("second", first.leaf_hash)
    late = office.agent.note("late", refs=[("amends", first.leaf_hash)])
    error = refused(office.ledger.append([late])[0])
    assert isinstance(error, HeadMovedError)
    assert error.head == digest(second)
    third = office.note("third", second.leaf_hash)
    assert office.effect(first).head == third.leaf_hash


def test_entries_and_their_amendments_may_come_in_one_batch(service: Service) -> None:
    office = Office(service)
    first = office.note("first")
    second = office.agent.note("second", refs=[("amends", first.leaf_hash)])
    placed = appended(office.ledger.append([second])[0])
    both = [
        office.agent.note("third", refs=[("amends", placed.leaf_hash)]),
        office.agent.seal(
            "hold/1", {"body": msgspec.json.encode(Hold("hold", (digest(first),), "case-1"))}
        ),
    ]
    third, hold = office.ledger.append(both)
    assert office.effect(first).head == appended(third).leaf_hash
    assert isinstance(refused(hold), StandingError)


def test_without_a_setting_nothing_can_be_changed_and_the_refusal_is_on_the_record(
    service: Service,
) -> None:
    office = Office(service, MutabilitySetting(type="agent.action/1", amend=("author",)))
    first = office.note("first")
    sealed = office.agent.seal(
        "erasure/1", {"body": msgspec.json.encode(Erasure(parts(first), "request"))}
    )
    for _ in range(2):
        assert isinstance(refused(office.ledger.append([sealed])[0]), StandingError)
    assert office.types(2) == ["note/1", "refusal/1"]


def test_what_was_set_for_ever_is_never_set_again(service: Service) -> None:
    office = Office(service, MutabilitySetting(type="*", for_ever=True))
    body = msgspec.json.encode(MutabilityChange(EVERYTHING))
    with pytest.raises(StandingError, match="for ever"):
        office.ledger.append_as_operator("mutability/1", body)


def test_a_held_entry_is_not_erased_until_every_case_released_it(service: Service) -> None:
    office = Office(service)
    first = office.note("first")
    for case in ("one", "two"):
        body = msgspec.json.encode(Hold("hold", (digest(first),), case))
        office.ledger.append_as_operator("hold/1", body)
    assert "held by one, two" in str(office.refuse("erasure/1", Erasure(parts(first), "request")))
    for case in ("one", "two"):
        body = msgspec.json.encode(Hold("release", (digest(first),), case))
        office.ledger.append_as_operator("hold/1", body)
    order = office.change("erasure/1", Erasure(parts(first), "request"))
    assert list(office.effect(first).erased_at(order.index + 1)) == ["body"]
    assert office.effect(order).ordered_at == order.index


def test_an_order_is_done_once(service: Service) -> None:
    office = Office(service)
    first = office.note("first")
    order = office.change("erasure/1", Erasure(parts(first), "request"))
    done = msgspec.json.encode(ErasureDone(order=digest(order), parts=1, stores=("database",)))
    placed = office.ledger.append_as_operator("erasure.done/1", done)
    assert office.effect(order).done_at == placed.index
    with pytest.raises(StandingError, match="not done"):
        office.ledger.append_as_operator("erasure.done/1", done)


def test_a_redacted_part_is_hidden_from_all_but_some_roles_until_it_is_shown_again(
    service: Service,
) -> None:
    office = Office(service)
    first = office.note("first")
    hidden = office.change("redaction/1", Redact(parts(first), ("auditor",)))
    veil = office.effect(first).veils_at(hidden.index + 1)["body"]
    assert veil.visible_to == frozenset({"auditor"})
    shown = office.change("redaction/1", Unredact(parts(first)))
    assert office.effect(first).veils_at(shown.index + 1) == {}


def test_the_schedule_erases_what_is_due_by_the_logs_own_time_and_not_before(
    service: Service,
) -> None:
    office = Office(service)
    office.note("first")
    before = clock.format_time(service.clock.now_ms + 1)
    order = msgspec.json.encode(Retention("note/1", "body", before))
    with pytest.raises(StandingError, match="kept for 60"):
        office.ledger.append_as_operator("retention/1", order)
    service.clock.now_ms += 61_000
    placed = office.ledger.append_as_operator("retention/1", order)
    assert office.effect(placed).ordered_at == placed.index
    with pytest.raises(StandingError, match="reached as far"):
        office.ledger.append_as_operator("retention/1", order)


def test_a_change_names_entries_of_this_ledger(service: Service) -> None:
    office = Office(service)
    nowhere = ids.format_digest(b"\x07" * 32)
    error = office.refuse("rollback/1", Rollback((nowhere,), 0))
    assert isinstance(error, DanglingReferenceError)


def test_governance_is_never_a_target(service: Service) -> None:
    office = Office(service, MutabilitySetting(type="*", erase=("author", "operator")))
    charter = ids.format_digest(office.ledger.charter)
    error = office.refuse("erasure/1", Erasure((Parts(charter, ("body",)),), "other"))
    assert "governance" in str(error)


def test_a_restarted_service_knows_what_holds(service: Service) -> None:
    office = Office(service)
    first = office.note("first")
    office.note("second", first.leaf_hash)
    before = office.effect(first)
    office.ledger = service.reopen().ledgers.get("main")
    assert office.effect(first) == before


OURS = MutabilitySetting(type="agent.decision/1", amend=("member",), erase=("member", "steward"))


def test_a_consortium_changes_what_its_quorum_agrees_to(service: Service) -> None:
    shared = Consortium(
        service.open().ledgers,
        make_policy("member/1", "policy/1"),
        make_policy("erasure/1:agent.decision/1"),
        mutability=(OURS,),
    )
    made = shared.decide()
    order = shared.append(shared.agents["acme"], "erasure/1", Erasure(parts(made), "request"))
    assert shared.verdict(order.leaf_hash) is None
    assert shared.ledger.effects([order.index])[order.index].ordered_at is None
    shared.endorse(order.leaf_hash, "birch")
    assert shared.verdict(order.leaf_hash) == "confirmed"
    found = shared.ledger.effects([made.index, order.index])
    outcome = shared.ledger.proposal(order.leaf_hash).outcome
    assert found[order.index].ordered_at == found[made.index].erasures[0].at == outcome


def test_what_can_no_longer_be_done_when_it_is_agreed_to_is_rejected(service: Service) -> None:
    shared = Consortium(
        service.open().ledgers,
        make_policy("member/1", "policy/1"),
        make_policy("amends:agent.decision/1"),
        mutability=(OURS,),
    )
    made = shared.decide()
    body = msgspec.json.encode({"decision": "route", "chosen": "south"})
    agent = shared.agents["acme"]
    refs: list[tuple[Relation, bytes]] = [("amends", made.leaf_hash)]
    two = [
        appended(
            shared.ledger.append([agent.seal("agent.decision/1", {"body": body}, refs=refs)])[0]
        )
        for _ in range(2)
    ]
    for each in two:
        shared.endorse(each.leaf_hash, "birch")
    assert [shared.verdict(each.leaf_hash) for each in two] == ["confirmed", "rejected"]
    assert shared.ledger.effects([made.index])[made.index].head == two[0].leaf_hash


def test_without_a_policy_nobody_in_a_consortium_changes_what_others_wrote(
    service: Service,
) -> None:
    shared = Consortium(service.open().ledgers, mutability=(OURS,))
    made = shared.decide()
    shared.endorse(made.leaf_hash, "birch")
    order = shared.stewards["birch"].seal(
        "erasure/1", {"body": msgspec.json.encode(Erasure(parts(made), "other"))}
    )
    assert isinstance(refused(shared.ledger.append([order])[0]), StandingError)
    shared.append(shared.agents["acme"], "erasure/1", Erasure(parts(made), "request"))


def test_a_change_may_name_ten_thousand_entries(service: Service) -> None:
    office = Office(service)
    notes = append_notes(office.ledger, office.agent, limits.CHANGE_TARGETS)
    named = tuple(Parts(digest(each), ("body",)) for each in notes)
    orders = [Erasure(each, "request") for each in (named[::2], named[1::2])]
    sealed = [office.agent.seal("erasure/1", {"body": msgspec.json.encode(x)}) for x in orders]
    placed = [appended(each) for each in office.ledger.append(sealed)]
    found = office.ledger.effects([each.index for each in notes])
    assert len(found) == len(notes)
    assert {each.erasures[0].by for each in found.values()} == {x.leaf_hash for x in placed}
