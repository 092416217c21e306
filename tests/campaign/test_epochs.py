"""Backups taken and restored at random: the log goes on, and its whole story verifies."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ledger_core.formats.submission import Submission
from ledger_core.formats.trust_policy import parse_trust_policy
from ledger_core.formats.vkey import format_vkey
from ledger_core.ledger import Ledger
from tests.support.backups import Backups, begin_epoch
from tests.support.invariants import check_everything
from tests.support.ledgers import Author, a_service, appended, register
from verifier.audit import Options, verify
from verifier.evidence import parse_kept_receipt

pytestmark = pytest.mark.campaign

STEPS = 16


class Walk:
    """One service whose disk is lost again and again, and all that anyone ever got from it."""

    def __init__(self, backups: Backups, seed: int) -> None:
        self.at = random.Random(seed)
        self.backups = backups
        ledger = backups.service.open().ledgers.create("main")
        self.author = register(ledger)
        self.copies = [backups.take()]
        self.records: list[Submission] = []
        self.receipts: list[bytes] = []
        self.keys: list[str] = []

    @property
    def ledger(self) -> Ledger:
        return self.backups.service.open().ledgers.get("main")

    def step(self) -> None:
        what = self.at.choice([*("append",) * 3, "again", "back up", "restore", "restore", "key"])
        if what == "back up":
            self.copies.append(self.backups.take())
        elif what == "restore":
            self.restore()
        elif what == "key":
            self.ledger.rotate_log_key()
        elif what == "again":
            self.append(self.at.sample(self.records, min(4, len(self.records))))
        else:
            author = Author(self.ledger.origin, self.author.key)
            new = [author.note(len(self.records) + n) for n in range(self.at.randrange(1, 5))]
            self.records += new
            self.append(new)
        self.keys += [vkey for _, vkey in self.ledger.log_keys() if vkey not in self.keys]

    def append(self, records: list[Submission]) -> None:
        """Append records; those of an epoch that is lost itself are nobody's any more."""
        ledger = self.ledger
        mine = [each for each in records if each.signed.record.ledger in ledger.origins]
        self.receipts += [appended(each).receipt for each in ledger.append(mine)]

    def restore(self) -> None:
        self.backups.restore(self.at.choice(self.copies))
        replica = self.backups.service.open()
        if replica.ledgers.check_signed():
            assert replica.ledgers.get("main").read_only is not None
            begin_epoch(self.backups.service)
        assert self.backups.service.open().ledgers.check_signed() == []

    def audit(self, folder: Path) -> None:
        ledger = self.ledger
        self.append(self.records)
        mine = {
            x.signed.record.id for x in self.records if x.signed.record.ledger in ledger.origins
        }
        assert len({ledger.index_of(each) for each in mine}) == len(mine)
        path = folder / "archive.zip"
        path.write_bytes(b"".join(ledger.export(0, None, "auditor")))
        logs = [format_vkey(ledger.log_key), *self.keys]
        lines = [f"log {vkey}" for vkey in dict.fromkeys(logs)]
        kept = [parse_kept_receipt(f"r{n}", each) for n, each in enumerate(self.receipts)]
        verdict = verify(
            Options(
                archive=path,
                policy=parse_trust_policy("\n".join([*lines, "quorum none", ""]).encode()),
                evidence=tuple(kept),
                accepted=frozenset(ledger.origins),
            )
        )
        assert verdict.findings.first() is None
        assert verdict.level == "L1"
        assert [each.is_on_fork for each in verdict.epochs] == [True] * len(verdict.epochs)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_lost_the_story_that_is_told_verifies(
    seed: int, sqlite_url: str, tmp_path: Path
) -> None:
    with a_service(sqlite_url, tmp_path) as service:
        walk = Walk(Backups(service, None, tmp_path), seed)
        for _ in range(STEPS):
            walk.step()
            service.close()
        walk.audit(tmp_path)
        replica = service.reopen()
        check_everything(replica, replica.ledgers.get("main"), tmp_path)
