"""A number that an author gives twice is evidence against it, on both databases."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import text

from ledger_core import ids
from ledger_core.errors import IntegrityError, StandingError
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.submission import Submission
from ledger_core.ledger import Ledger
from ledger_core.records.types.charter import Parent
from ledger_core.records.types.key import Revoke
from tests.support.assemblies import make_policy
from tests.support.consortium import Consortium, endorse
from tests.support.invariants import check_everything, check_export
from tests.support.ledgers import Author, Replica, Service, appended, refused, register

EVIDENCE = "equivocation/1"


def types(ledger: Ledger) -> list[str]:
    entries = ledger.entries(range(ledger.size()), with_payload=False)
    return [parse_entry(each.leaf).signed_record().record.type for each in entries]


def evidence(ledger: Ledger) -> list[tuple[int, int, int]]:
    """Return the index of each evidence about a stream, with those of the entries it names."""
    entries = ledger.entries(range(ledger.size()))
    index_of = {ids.format_digest(each.leaf_hash): each.index for each in entries}
    found = []
    for each in entries:
        if parse_entry(each.leaf).signed_record().record.type == EVIDENCE:
            body = msgspec.json.decode(each.parts["body"].data)
            assert body["kind"] == "stream"
            found.append((each.index, index_of[body["first"]], index_of[body["second"]]))
    return found


def service_key(ledger: Ledger) -> str:
    return parse_entry(ledger.entry(0).leaf).signed_record().record.author


def test_the_second_record_of_a_number_is_an_entry_and_evidence_stands_right_behind_it(
    ledger: Ledger, author: Author, tmp_path: Path
) -> None:
    first, second = (
        appended(ledger.append([author.note(tale, stream=("run", 7))])[0])
        for tale in ("one tale", "another")
    )
    assert second.is_new
    assert evidence(ledger) == [(second.index + 1, first.index, second.index)]
    check_export(ledger, tmp_path)


def test_later_ones_are_held_against_the_first_even_within_one_batch(
    ledger: Ledger, author: Author, tmp_path: Path
) -> None:
    outcomes = ledger.append([author.note(n, stream=("run", 7)) for n in range(3)])
    assert [appended(each).index for each in outcomes] == [2, 3, 5]
    later = appended(ledger.append([author.note(4, stream=("run", 7))])[0])
    assert later.index == 7
    assert evidence(ledger) == [(4, 2, 3), (6, 2, 5), (8, 2, 7)]
    check_export(ledger, tmp_path)


def test_other_authors_streams_and_numbers_contradict_nothing(
    ledger: Ledger, author: Author, tmp_path: Path
) -> None:
    other = register(ledger)
    numbered = [("run", 7), ("run", 8), ("run2", 7)]
    ledger.append([who.note(stream=each) for who in (author, other) for each in numbered])
    ledger.append([author.note(), author.note()])
    assert EVIDENCE not in types(ledger)
    check_export(ledger, tmp_path)


def test_a_record_that_is_handed_in_again_contradicts_nothing(service: Service) -> None:
    ledger = service.open().ledgers.create("main")
    note = register(ledger).note(stream=("run", 7))
    first = appended(ledger.append([note, note])[1])
    ledger = service.reopen().ledgers.get("main")
    again = appended(ledger.append([note])[0])
    assert (first.index, again.index, again.is_new) == (2, 2, False)
    assert ledger.size() == 3


def test_a_refused_record_has_given_no_number(ledger: Ledger, author: Author) -> None:
    refs = [("causes", bytes(32))]
    refused(ledger.append([author.note(stream=("run", 7), refs=refs)])[0])  # type: ignore[arg-type]
    ledger.append([author.note(stream=("run", 7))])
    assert EVIDENCE not in types(ledger)


def test_records_that_race_over_replicas_leave_evidence_of_all_but_one(
    service: Service, tmp_path: Path
) -> None:
    replicas = [service.open(), service.open()]
    author = register(replicas[0].ledgers.create("main"))
    ledgers = [each.ledgers.get("main") for each in replicas]
    with ThreadPoolExecutor(4) as threads:
        for each in range(8):
            threads.submit(ledgers[each % 2].append, [author.note(each, stream=("run", 7))])
    assert types(ledgers[0]).count(EVIDENCE) == 7
    assert {first for _, first, _ in evidence(ledgers[0])} == {2}
    check_everything(replicas[0], ledgers[0], tmp_path)


def test_endorsements_with_one_number_are_evidence_before_the_outcome(
    service: Service, tmp_path: Path
) -> None:
    policies = make_policy("member/1", "policy/1"), make_policy("agent.decision/1")
    replica = service.open()
    shared = Consortium(replica.ledgers, *policies)
    birch = shared.agents["birch"]
    for _ in range(2):
        proposal = shared.ledger.proposal(shared.decide("acme").leaf_hash)
        appended(shared.ledger.append([endorse(proposal, birch, stream=("votes", 1))])[0])
    assert shared.types()[-3:] == ["endorsement/1", EVIDENCE, "outcome/1"]
    check_everything(replica, shared.ledger, tmp_path)


def test_a_service_that_could_not_write_the_evidence_refuses_the_record(
    ledger: Ledger, author: Author
) -> None:
    operator, other = service_key(ledger), register(ledger, "operator")
    ledger.append([author.note(stream=("run", 7))])
    revocation = msgspec.json.encode(Revoke(operator, "lost"))
    appended(ledger.append([other.seal("key/1", {"body": revocation})])[0])
    assert isinstance(refused(ledger.append([author.note(1, stream=("run", 7))])[0]), StandingError)
    appended(ledger.append([author.note(1, stream=("run", 8))])[0])


def test_a_closing_with_a_number_given_before_closes_all_the_same(
    service: Service, tmp_path: Path
) -> None:
    replica = service.open()
    main = replica.ledgers.create("main")
    parties = tuple(sorted(("acme", "birch", "cobalt")))
    parent = Parent(main.origin, ids.format_digest(main.charter))
    local = Consortium(
        replica.ledgers,
        make_policy("note/1"),
        name="deal",
        kind="local",
        parties=parties,
        parent=parent,
    )
    for type_name in ("agent.action/1", "closing/1"):
        body = b'{"action":"pay","status":"started"}' if type_name != "closing/1" else b"{}"
        sealed = local.agents["acme"].seal(type_name, {"body": body}, stream=("run", 1))
        appended(local.ledger.append([sealed])[0])
    assert local.types() == ["charter/1", "agent.action/1", "closing/1"]
    check_everything(replica, local.ledger, tmp_path)


def test_a_counter_noted_at_another_entry_stops_the_appends(service: Service) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    author = register(ledger)
    ledger.append([author.note(stream=("run", n)) for n in range(2)])
    with replica.database.engine.begin() as tx:
        if tx.dialect.name == "sqlite":
            tx.execute(text("DROP TRIGGER counters_no_update"))
        else:
            tx.execute(text("ALTER TABLE counters DISABLE TRIGGER ALL"))
        tx.execute(text('UPDATE counters SET "index" = 1 WHERE "index" = 2'))
    with pytest.raises(IntegrityError, match="a counter is noted at an entry without it"):
        ledger.append([author.note(1, stream=("run", 0))])


# --- random histories ------------------------------------------------------------


class Numbering(RuleBasedStateMachine):
    """Authors number notes as they like, over two replicas, with repetitions and restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.service = Service(f"sqlite:///{self.folder / 'ledger.db'}", self.folder)
        self.replicas: list[Replica] = []
        self.authors: list[Author] = []
        self.done: list[Submission] = []
        self.first: dict[tuple[str, str, int], int] = {}
        self.expected: list[tuple[int, int, int]] = []

    @initialize()
    def found(self) -> None:
        self.replicas = [self.service.open(), self.service.open()]
        ledger = self.replicas[0].ledgers.create("main")
        self.authors = [register(ledger), register(ledger)]

    def ledger(self, replica: int = 0) -> Ledger:
        return self.replicas[replica].ledgers.get("main")

    @rule(
        replica=st.integers(0, 1),
        numbered=st.lists(
            st.tuples(st.integers(0, 1), st.sampled_from(["a", "b"]), st.integers(0, 3)),
            min_size=1,
            max_size=5,
        ),
    )
    def append(self, replica: int, numbered: list[tuple[int, str, int]]) -> None:
        batch = [self.authors[who].note(stream=(stream, n)) for who, stream, n in numbered]
        outcomes = self.ledger(replica).append(batch)
        for (who, stream, n), outcome in zip(numbered, outcomes, strict=True):
            index = appended(outcome).index
            first = self.first.setdefault((self.authors[who].name, stream, n), index)
            if first != index:
                self.expected.append((index + 1, first, index))
        self.done += batch

    @rule(replica=st.integers(0, 1))
    def repeat(self, replica: int) -> None:
        assert not any(appended(each).is_new for each in self.ledger(replica).append(self.done[:4]))

    @rule()
    def reopen(self) -> None:
        self.service.close()
        self.replicas = [self.service.open(), self.service.open()]

    def teardown(self) -> None:
        if self.replicas:
            assert evidence(self.ledger()) == self.expected
            check_everything(self.replicas[0], self.ledger(), self.folder)
        self.service.close()
        shutil.rmtree(self.folder)


def test_evidence_is_what_a_plain_table_of_numbers_says() -> None:
    run_state_machine_as_test(
        Numbering,
        settings=settings(
            max_examples=8,
            stateful_step_count=8,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
