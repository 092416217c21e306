"""kill -9 at every step of an erasure: finished or not begun in the end, never half visible."""

from __future__ import annotations

import signal
import time

import msgspec
import pytest
from sqlalchemy import select

from ledger_core import ids
from ledger_core.fail_points import DESTRUCTION_FAIL_POINTS, ERASER_FAIL_POINTS
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.ledger import Ledger
from ledger_core.policy.visibility import read_subject
from ledger_core.records.model import decode_part
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.targets import Parts
from ledger_core.records.types.charter import Founding
from ledger_core.records.types.erasure import Erasure
from ledger_core.records.types.erasure_done import ERASURE_DONE_1, ErasureDone
from ledger_core.storage import erasures
from ledger_core.storage import tables as t
from ledger_core.storage.erasures import Erased
from ledger_core.storage.search import EntryQuery
from tests.crash.harness import TIMEOUT_S, begin
from tests.support import forking
from tests.support.ledgers import Author, Replica, Service, appended

SCRIPT = """
import sys
from tests.crash.test_eraser import order_and_wait
order_and_wait(*sys.argv[1:])
"""
AGENT = PrivateKey(b"\x0b" * 32)
ACTIONS = range(2, 22)
KEPT = range(22, 27)
SETTING = MutabilitySetting(type="agent.action/1", erase=("author",))


def found(service: Service) -> None:
    """Found a ledger with actions, of which the first twenty are to be erased."""
    ledger = service.open().ledgers.create("main", founding=Founding(mutability=(SETTING,)))
    agent = Author(ledger.origin, AGENT)
    ledger.append_as_operator("key/1", agent.registration())
    for number in (*ACTIONS, *KEPT):
        body = {"action": f"act-{number}", "status": "succeeded", "session_id": f"s-{number}"}
        sealed = agent.seal("agent.action/1", {"body": msgspec.json.encode(body)})
        assert appended(ledger.append([sealed])[0]).index == number
    ledger.wait_until_searchable(ledger.size(), 30)
    service.close()


def order_and_wait(database_url: str, memory_url: str) -> None:
    """Order the erasure, and wait until it is done: what the process does that gets killed."""
    replica = Replica(database_url, memory_url)
    ledger = replica.ledgers.get("main")
    if not done_records(ledger) and find(ledger, "erasure/1") is None:
        agent = Author(ledger.origin, AGENT)
        targets = tuple(
            Parts(ids.format_digest(each.leaf_hash), ("body",))
            for each in ledger.entries(ACTIONS, with_payload=False)
        )
        body = msgspec.json.encode(Erasure(targets, "request"))
        appended(ledger.append([agent.seal("erasure/1", {"body": body})])[0])
    wait_until_done(replica, ledger)
    replica.close()


def wait_until_done(replica: Replica, ledger: Ledger) -> None:
    end_s = time.monotonic() + TIMEOUT_S
    while not done_records(ledger):
        assert time.monotonic() < end_s, replica.ledgers.eraser.failure
        time.sleep(0.05)


def find(ledger: Ledger, type_name: str) -> int | None:
    entries = ledger.entries(range(ledger.size()), with_payload=False)
    found = [x.index for x in entries if read_subject(x.index, x.leaf).type == type_name]
    return found[-1] if found else None


def done_records(ledger: Ledger) -> list[ErasureDone]:
    entries = ledger.entries(range(KEPT.stop, ledger.size()))
    return [
        decode_part(ERASURE_DONE_1, "body", "application/json", x.parts["body"].data)
        for x in entries
        if read_subject(x.index, x.leaf).type == "erasure.done/1"
    ]


def start(service: Service, point: str = "") -> forking.Process:
    return begin(["-c", SCRIPT, service.database_url, service.memory_url], point)


def check_visible(ledger: Ledger) -> None:
    """Check that of what one order names all is shown, or nothing."""
    gone = {each.index: each.gone for each in ledger.entries(ACTIONS)}
    order = find(ledger, "erasure/1")
    expected = {} if order is None else {"body": Erased(order)}
    assert gone == dict.fromkeys(ACTIONS, expected)
    assert all(each.parts for each in ledger.entries(KEPT))


def check_erased(replica: Replica, ledger: Ledger) -> None:
    """Check that the manifest is true: nothing is left, and all else is there."""
    check_visible(ledger)
    (done,) = done_records(ledger)
    order = find(ledger, "erasure/1")
    assert order is not None
    assert done.order == ids.format_digest(ledger.entry(order).leaf_hash)
    assert (done.parts, done.stores) == (len(ACTIONS), ("keys", "payloads", "views"))
    with replica.database.read() as tx:
        noted = erasures.read_all(tx, (0, -1, ""), 1000)
        rows = set(tx.execute(select(t.payloads.c.index)).scalars())
    assert {each.index for each in noted} == set(ACTIONS)
    assert rows.isdisjoint(ACTIONS)
    assert rows >= set(KEPT)
    assert all(each.key_id is not None for each in noted)
    assert replica.keys.find([each.key_id or b"" for each in noted]) == {}
    assert len(replica.keys.find_destroyed([each.commitment for each in noted])) == len(ACTIONS)
    ledger.wait_until_searchable(ledger.size(), 30)
    for number in (ACTIONS[0], KEPT[0]):
        query = EntryQuery(type="agent.action/1", columns={"action": f"act-{number}"})
        assert list(ledger.search(query).indexes) == ([number] if number in KEPT else [])


POINTS = [
    "sequencer.before-commit",
    "sequencer.after-commit",
    *DESTRUCTION_FAIL_POINTS,
    *ERASER_FAIL_POINTS,
    "sequencer.before-commit:2",
    "sequencer.after-commit:2",
]


@pytest.mark.parametrize("point", POINTS)
def test_an_erasure_is_finished_or_not_begun_after_a_kill_at(point: str, service: Service) -> None:
    found(service)
    assert start(service, point).wait(TIMEOUT_S) == -signal.SIGKILL
    check_what_is_left(service)
    assert start(service).wait(TIMEOUT_S) == 0
    replica = service.open()
    check_erased(replica, replica.ledgers.get("main"))


def check_what_is_left(service: Service) -> None:
    """Look at what the killed process left, before anything goes on with it."""
    replica = Replica(service.database_url, service.memory_url, is_started=False)
    check_visible(replica.ledgers.get("main"))
    replica.close()


def test_three_processes_that_erase_at_once_erase_once(service: Service) -> None:
    found(service)
    assert start(service, "eraser.noted").wait(TIMEOUT_S) == -signal.SIGKILL
    processes = [start(service) for _ in range(3)]
    assert [each.wait(TIMEOUT_S) for each in processes] == [0, 0, 0]
    replica = service.open()
    check_erased(replica, replica.ledgers.get("main"))
