"""kill -9 between the closing of a ledger and its anchor: once is once, in the end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ledger_core import ids
from ledger_core.fail_points import ANCHOR_FAIL_POINTS
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.ledger import Ledger
from ledger_core.policy.anchoring import check_anchored, parent_checkpoint_of, parse_anchored
from ledger_core.records.types.charter import Founding, FoundingKey, Parent
from tests.crash.harness import TIMEOUT_S, begin
from tests.support import forking
from tests.support.invariants import check_everything
from tests.support.ledgers import Author, Replica, Service, appended

SCRIPT = """
import sys
from tests.crash.test_anchorer import close_and_anchor
close_and_anchor(*sys.argv[1:])
"""
PARTY = PrivateKey(b"\x09" * 32)
NAMES = ("deal-0", "deal-1", "deal-2")


def found(service: Service) -> None:
    """Found a parent and three local ledgers."""
    ledgers = service.open().ledgers
    parent = ledgers.create("main")
    for name in NAMES:
        origin = f"ledgergrid.example/{name}"
        party = Author(origin, PARTY)
        founding = Founding(
            keys=(FoundingKey(party.name, ("agent",)),),
            parties=(party.name,),
            parent=Parent(parent.origin, ids.format_digest(parent.charter)),
        )
        ledgers.create(name, kind="local", origin=origin, founding=founding)
    service.close()


def close_and_anchor(database_url: str, memory_url: str) -> None:
    """Close what is still open, and anchor it: what the process does that gets killed."""
    replica = Replica(database_url, memory_url)
    for name in NAMES:
        ledger = replica.ledgers.get(name)
        if ledger.closing() is None:
            party = Author(ledger.origin, PARTY)
            appended(ledger.append([party.seal("closing/1", {"body": b"{}"})])[0])
    assert replica.ledgers.anchorer.anchor_due() is None
    replica.close()


def start(service: Service, point: str = "") -> forking.Process:
    return begin(["-c", SCRIPT, service.database_url, service.memory_url], point)


def anchors(parent: Ledger) -> int:
    entries = parent.entries(range(parent.size()), with_payload=False)
    return sum(b'"type":"anchor/1"' in each.leaf for each in entries)


def check_anchors(service: Service, folder: Path) -> None:
    """Check that each closed ledger is anchored once, and proves it."""
    replica = service.open()
    parent = replica.ledgers.get("main")
    assert anchors(parent) == len(NAMES)
    for name in NAMES:
        local = replica.ledgers.get(name)
        receipt = parse_anchored(replica.ledgers.anchorer.prove(local, 0))
        checkpoint = verify_checkpoint(parent_checkpoint_of(receipt), parent.log_key)
        assert check_anchored(receipt, local.entry(0).leaf, checkpoint).origin == local.origin
        check_everything(replica, local, folder)
    check_everything(replica, parent, folder)


@pytest.mark.parametrize(
    "point", [*ANCHOR_FAIL_POINTS, "sequencer.before-commit:2", "sequencer.after-commit:3"]
)
def test_a_closed_ledger_is_anchored_once_after_a_kill_at(
    point: str, service: Service, tmp_path: Path
) -> None:
    found(service)
    assert start(service, point).wait(TIMEOUT_S) == -signal.SIGKILL
    assert [start(service).wait(TIMEOUT_S) for _ in range(2)] == [0, 0]
    check_anchors(service, tmp_path)


def test_two_processes_that_close_and_anchor_at_once_anchor_once(
    service: Service, tmp_path: Path
) -> None:
    """The clerks of two processes race besides, once a second each."""
    found(service)
    ledgers = service.open().ledgers
    for name in NAMES:
        party = Author(ledgers.get(name).origin, PARTY)
        appended(ledgers.get(name).append([party.seal("closing/1", {"body": b"{}"})])[0])
    processes = [start(service) for _ in range(3)]
    assert [each.wait(TIMEOUT_S) for each in processes] == [0, 0, 0]
    check_anchors(service, tmp_path)
