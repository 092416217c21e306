"""Random histories of changes, exported: every honest archive passes, whatever range or reader."""

from __future__ import annotations

import random
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from ledger_core.ledger import Ledger
from ledger_core.policy.visibility import OPERATOR, Reader, find_reader
from tests.ledger_core.test_change_histories import ChangingForReal
from tests.ledger_core.test_exporter import export
from tests.support.assemblies import MEMBERS
from tests.support.ledgers import Service
from verifier.audit import Options, verify

RANGES = 6


def check_archive(ledger: Ledger, folder: Path, start: int, end: int, reader: Reader) -> int:
    """Check that an archive passes; return how many changes it lists."""
    path = folder / "archive.zip"
    path.write_bytes(export(ledger, start, end, reader=reader))
    verdict = verify(Options(archive=path))
    assert verdict.findings.kept == [], (start, end, reader, verdict.findings.first())
    return len(verdict.register)


class Archiving(ChangingForReal):
    """Changes, and at the end archives of all of it, of some ranges, and for some readers."""

    folder: Path
    listed: ClassVar[list[int]] = []

    def teardown(self) -> None:
        super().teardown()
        if not hasattr(self, "log"):
            return
        ledger = self.service.reopen().ledgers.get(self.log.name)
        size, chance = ledger.size(), random.Random(len(self.log.acts))
        constitution = ledger.constitution()
        readers = [OPERATOR, *(find_reader(constitution, member) for member in MEMBERS)]
        self.listed.append(check_archive(ledger, self.folder, 0, size, OPERATOR))
        for _ in range(RANGES):
            start = chance.randrange(size)
            end = chance.randrange(start, size) + 1
            check_archive(ledger, self.folder, start, end, chance.choice(readers))
        self.service.close()


def test_every_archive_of_every_history_of_changes_passes(sqlite_url: str, tmp_path: Path) -> None:
    listed: list[int] = []
    given = {"service": Service(sqlite_url, tmp_path), "folder": tmp_path, "listed": listed}
    machine = type("Machine", (Archiving,), given)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert sum(listed) > len(listed)
