"""Ten thousand local ledgers in one service: opened, used, closed, anchored, proved.

``LEDGERGRID_LEDGERS`` sets another number. What each step costs a ledger is printed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger_core import ids
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.policy.anchoring import check_anchored, parent_checkpoint_of, parse_anchored
from ledger_core.records.types.charter import Founding, FoundingKey, Parent
from tests.support.ledgers import Author, Replica, Service, appended

pytestmark = pytest.mark.campaign

COUNT = int(os.environ.get("LEDGERGRID_LEDGERS", "10000"))
KEYS = (PrivateKey(b"\x03" * 32), PrivateKey(b"\x04" * 32))
READINESS_S = 5.0
LOOK_S = 1.0
RESIDENT_BYTES = 64 * 1024


class Steps:
    """Times steps and tells what each costs a ledger."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._resident_bytes = resident_bytes()

    def run(self, name: str, step: Callable[[], object], count: int = COUNT) -> float:
        began, processor = time.perf_counter(), time.process_time()
        step()
        spent, processor = time.perf_counter() - began, time.process_time() - processor
        with self._capsys.disabled():
            print(
                f"\n  {name:24} {spent * 1000 / count:8.2f} ms each, processor "
                f"{processor * 1000 / count:6.2f} ms, {self.bytes_each() / 1024:6.1f} KiB a ledger",
                end="",
            )
        return spent

    def bytes_each(self) -> float:
        return (resident_bytes() - self._resident_bytes) / COUNT


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Deals:
    """Local ledgers of the same two parties, all under ``main``."""

    def __init__(self, replica: Replica) -> None:
        self.ledgers = replica.ledgers
        self.parent = self.ledgers.create("main")
        self.names = [f"deal-{number:05d}" for number in range(COUNT)]

    def found(self) -> None:
        parent = Parent(self.parent.origin, ids.format_digest(self.parent.charter))
        for name in self.names:
            origin = f"ledgergrid.example/{name}"
            keys = [ids.format_key(key.public_key) for key in KEYS]
            founding = Founding(
                keys=tuple(FoundingKey(key, ("agent",)) for key in keys),
                parties=tuple(sorted(keys)),
                parent=parent,
            )
            self.ledgers.create(name, kind="local", origin=origin, founding=founding)

    def append(self, type_name: str) -> None:
        for name in self.names:
            ledger = self.ledgers.get(name)
            author = Author(ledger.origin, KEYS[0])
            appended(ledger.append([author.seal(type_name, {"body": b"{}"})])[0])

    def anchor(self) -> None:
        while self.parent.size() <= COUNT:
            assert self.ledgers.anchorer.anchor_due() is None

    def prove(self) -> None:
        """Check one entry of each ledger as whoever trusts the parent does."""
        for number, name in enumerate(self.names):
            local = self.ledgers.get(name)
            receipt = parse_anchored(self.ledgers.anchorer.prove(local, number % 3))
            checkpoint = verify_checkpoint(parent_checkpoint_of(receipt), self.parent.log_key)
            check_anchored(receipt, local.entry(number % 3).leaf, checkpoint)

    def open(self) -> None:
        for name in self.names:
            self.ledgers.get(name)


def test_ten_thousand_local_ledgers_live_in_one_service(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = Steps(capsys)
    deals = Deals(service.open())
    steps.run("found", deals.found)
    steps.run("append", lambda: deals.append("note/1"))
    steps.run("close", lambda: deals.append("closing/1"))
    steps.run("anchor", deals.anchor)
    steps.run("prove and check", deals.prove)
    assert steps.bytes_each() < RESIDENT_BYTES
    assert deals.parent.size() == COUNT + 1
    assert deals.ledgers.check_signed() == []
    assert deals.ledgers.follower.catch_up() is None
    assert steps.run("readiness", deals.ledgers.check_signed, 1) < READINESS_S
    assert steps.run("a look at all", deals.ledgers.follower.catch_up, 1) < LOOK_S
    assert steps.run("the clerk, idle", deals.ledgers.clerk.tidy, 1) < LOOK_S
    deals.ledgers = service.reopen().ledgers
    steps.run("open after a restart", deals.open)
