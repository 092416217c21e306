"""The machine of changes once more, through real ledgers: signatures, databases, restarts."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from ledger_core.errors import HeadMovedError, LedgerGridError, StandingError
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import Relation
from ledger_core.ledger import Ledger
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import Assembly
from ledger_core.policy.changes import amended_by
from ledger_core.policy.constitution import Constitution
from ledger_core.records.model import RecordType, decode_payload
from ledger_core.records.registry import find_type
from ledger_core.records.rules import MutabilitySetting, Policy
from ledger_core.records.types.charter import Founding, FoundingKey, FoundingMember, Kind
from ledger_core.records.types.erasure_done import ERASURE_DONE_1
from ledger_core.records.types.refusal import REFUSAL_1
from ledger_core.sequencer import Appended
from ledger_core.storage.store import StoredEntry
from tests.ledger_core.policy import review
from tests.ledger_core.policy.test_change_machine import Changing
from tests.support.assemblies import MEMBERS, Log
from tests.support.invariants import check_everything
from tests.support.ledgers import Author, Replica, Service, appended, checked_receipt


def act_of(entry: StoredEntry) -> Act:
    parsed = parse_entry(entry.leaf)
    record, received_at = parsed.signed_record().record, parsed.header.received_at
    kind = find_type(record.type)
    return Act(
        entry.index,
        entry.leaf_hash,
        received_at,
        kind,
        record.author,
        {"body": None} if entry.gone else decode_payload(kind, record, entry.parts),
        amended_by(kind, record.refs),
        parts=tuple(record.payload),
    )


def quiet(replica: Replica) -> Replica:
    """Let nothing be appended by the service itself: the machine says what happens when."""
    replica.ledgers.eraser.close()
    return replica


class RealLog(Log):
    """A ledger of a service, read back entry by entry as one of its readers would."""

    def __init__(self, service: Service, name: str, kind: Kind, **founding: Any) -> None:
        self.service, self.name = service, name
        origin = f"ledgergrid.example/{name}"
        self.agents = {(m, n): Author(origin) for m in MEMBERS for n in (1, 2)}
        self.stewards = {m: Author(origin) for m in MEMBERS}
        keys = [FoundingKey(each.name, ("agent",), m) for (m, _), each in self.agents.items()]
        keys += [FoundingKey(each.name, ("steward",), m) for m, each in self.stewards.items()]
        self.authors = {a.name: a for a in (*self.agents.values(), *self.stewards.values())}
        self.ledger: Ledger = quiet(service.open()).ledgers.create(
            name, kind=kind, origin=origin, founding=Founding(keys=tuple(keys), **founding)
        )
        self.acts: list[Act] = []
        self.parts = ("body",)
        self.assembly = Assembly(Constitution(), {})
        self.given: list[Appended] = []
        self.read()

    @property
    def now_ms(self) -> int:
        return self.service.clock.now_ms

    @now_ms.setter
    def now_ms(self, now_ms: int) -> None:
        self.service.clock.now_ms = now_ms

    @property
    def operator(self) -> str:
        return self.acts[0].author

    def agent_of(self, member: str, number: int = 1) -> str:
        return self.agents[member, number].name

    def steward_of(self, member: str) -> str:
        return self.stewards[member].name

    def read(self) -> None:
        for entry in self.ledger.entries(range(len(self.acts), self.ledger.size())):
            act = act_of(entry)
            self.assembly.take(act, self.assembly.check(act))
            self.assembly.alterations.learn(act)
            self.acts.append(act)

    def append(
        self, kind: RecordType, author: str, body: Any, amends: bytes | None = None
    ) -> bytes:
        data = msgspec.json.encode(body)
        refs: list[tuple[Relation, bytes]] = [("amends", amends)] if amends is not None else []
        try:
            if author == self.operator:
                placed = self.ledger.append_as_operator(kind.name, data)
            else:
                sealed = self.authors[author].seal(kind.name, {"body": data}, refs=refs)
                placed = appended(self.ledger.append([sealed])[0])
        finally:
            self.read()
        self.given.append(placed)
        return placed.leaf_hash

    def expire(self, proposal: bytes) -> None:
        self.ledger.expire(proposal)
        self.read()

    def restart(self) -> None:
        self.ledger = quiet(self.service.reopen()).ledgers.get(self.name)
        self.read()


class ChangingForReal(Changing):
    """Kept by a service; each example has a ledger of its own."""

    service: Service
    folder: Path
    numbers = count()
    log: RealLog

    def make_log(
        self,
        kind: Kind,
        governed: tuple[Policy, ...],
        settings: tuple[MutabilitySetting, ...],
        members: tuple[FoundingMember, ...],
    ) -> Log:
        name = f"changes-{next(self.numbers)}"
        return RealLog(
            self.service, name, kind, policies=governed, mutability=settings, members=members
        )

    def snapshot(self) -> Any:
        constitution, proposals, effects, altered = super().snapshot()
        effects = {leaf: each for leaf, each in effects.items() if each.type != REFUSAL_1.name}
        return constitution, proposals, effects, altered

    def check_refused(self, act: Act, error: LedgerGridError, left: list[Act]) -> None:
        is_of_change = review.is_change(act) or act.kind is ERASURE_DONE_1
        is_told = isinstance(error, StandingError) and not isinstance(error, HeadMovedError)
        assert [each.kind for each in left] == ([REFUSAL_1] if is_of_change and is_told else [])
        assert all(each.payload["body"].code == error.code for each in left)

    @invariant()
    def the_table_of_effects_says_what_the_log_says(self) -> None:
        altered = self.log.assembly.alterations.altered
        found = self.log.ledger.effects(range(len(self.acts)))
        assert found == {each.index: each for each in altered.values()}

    def teardown(self) -> None:
        super().teardown()
        if not hasattr(self, "log"):
            return
        replica = quiet(self.service.reopen())
        ledger = replica.ledgers.get(self.log.name)
        check_everything(replica, ledger, self.folder)
        for each in self.log.given:
            checked_receipt(ledger, each.index, each.receipt)
        self.service.close()


def run(service: Service, folder: Path, examples: int) -> None:
    machine = type("Machine", (ChangingForReal,), {"service": service, "folder": folder})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_whatever_is_changed_the_table_of_effects_is_what_the_log_says(
    sqlite_url: str, tmp_path: Path
) -> None:
    run(Service(sqlite_url, tmp_path), tmp_path, 12)


def test_on_postgresql_too(postgresql_url: str, tmp_path: Path) -> None:
    run(Service(postgresql_url, tmp_path), tmp_path, 3)
