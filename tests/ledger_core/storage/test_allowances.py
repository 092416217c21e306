"""Allowances as they are stored: read back as they were put, gone when they are over."""

from __future__ import annotations

import pytest

from ledger_core.ledger import Ledger
from ledger_core.policy.allowances import Spent, State, Window
from ledger_core.storage import allowances
from tests.support.ledgers import Replica, Service, find_allowances

STATES: dict[bytes, State] = {
    b"b" + b"\x01" * 16: Spent(2**62),
    b"b" + b"\x02" * 16: Spent(0, 1_000),
    b"r" + b"\x01" * 16: Window(1_785_579_072, (3, 0, 2**32 - 1)),
    b"r" + b"\x02" * 16: Window(0, (1,) * 60),
    b"r" + b"\x03" * 16: Window(5),
}


@pytest.fixture
def replica(service: Service) -> Replica:
    return service.open()


@pytest.fixture
def ledger(replica: Replica) -> Ledger:
    return replica.ledgers.create("main")


def put(
    replica: Replica, ledger: Ledger, changed: dict[bytes, State], known: dict[bytes, State]
) -> None:
    with replica.database.write() as tx:
        allowances.put(tx, replica.database.dialect, ledger.ledger_id, changed, known)


def find(replica: Replica, ledger: Ledger) -> dict[bytes, State]:
    with replica.database.read() as tx:
        return find_allowances(tx, ledger.ledger_id, [*STATES, b"unknown"])


def test_states_are_read_as_they_were_put_and_put_again(replica: Replica, ledger: Ledger) -> None:
    put(replica, ledger, STATES, {})
    assert find(replica, ledger) == STATES
    *_, last = STATES
    changed: dict[bytes, State] = dict.fromkeys(list(STATES)[:2], Spent(7, 8))
    changed |= {list(STATES)[2]: Window(9, (1, 1)), last: Window(6, (1,))}
    put(replica, ledger, changed, STATES)
    assert find(replica, ledger) == STATES | changed


def test_a_row_whose_end_moves_is_forgotten_at_its_new_end_and_one_that_lasts_at_its_old_one(
    replica: Replica, ledger: Ledger
) -> None:
    moving, lasting = b"b" + b"\x01" * 16, b"b" + b"\x02" * 16
    first: dict[bytes, State] = {moving: Spent(1, 1_000), lasting: Spent(1, 1_000)}
    put(replica, ledger, first, {})
    put(replica, ledger, {moving: Spent(2, 5_000), lasting: Spent(2, 1_000)}, first)
    with replica.database.write() as tx:
        assert allowances.forget(tx, ledger.ledger_id, 1_000, 10) == 1
    assert find(replica, ledger) == {moving: Spent(2, 5_000)}
    with replica.database.write() as tx:
        assert allowances.forget(tx, ledger.ledger_id, 5_000, 10) == 1


def test_a_ledgers_allowances_are_its_own(replica: Replica, ledger: Ledger) -> None:
    put(replica, ledger, STATES, {})
    assert find(replica, replica.ledgers.create("other")) == {}


def test_what_is_over_is_forgotten_the_oldest_first(replica: Replica, ledger: Ledger) -> None:
    put(replica, ledger, STATES, {})

    def forget(now_ms: int, most: int) -> int:
        with replica.database.write() as tx:
            return allowances.forget(tx, ledger.ledger_id, now_ms, most)

    assert forget(999, 10) == 0
    assert forget(600_000, 1) == 1
    assert b"b" + b"\x02" * 16 not in find(replica, ledger)
    assert forget(600_000, 10) == 2
    assert find(replica, ledger).keys() == {b"b" + b"\x01" * 16, b"r" + b"\x01" * 16}
    assert forget(2**62, 10) == 1
    assert find(replica, ledger).keys() == {b"b" + b"\x01" * 16}
