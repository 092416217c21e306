"""One process and several give the same verdict."""

from __future__ import annotations

import pytest

from ledger_core import limits
from ledger_core.formats import archive
from tests.support.archives import Archive, Log
from tests.verifier.audits import audit
from verifier.audit import SMALL_BYTES


@pytest.fixture(scope="module")
def log() -> Log:
    """Give a log of two segments, so that there is something to share out."""
    log = Log.founded()
    for number in range(limits.ARCHIVE_SEGMENT_ENTRIES + 10):
        log.note({"n": number})
    return log


@pytest.fixture
def made(log: Log) -> Archive:
    made = log.archive()
    made.files[archive.CSV] = b"index\n" + b"0\n" * SMALL_BYTES
    return made.reseal()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_good_archive_with_a_large_table_has_no_findings(made: Archive, jobs: int) -> None:
    verdict = audit(made, jobs=jobs)
    assert verdict.level == "L0"
    assert verdict.entries == limits.ARCHIVE_SEGMENT_ENTRIES + 12


@pytest.mark.parametrize("jobs", [1, 2])
def test_damage_in_a_large_file_and_in_both_segments_is_found(made: Archive, jobs: int) -> None:
    made.files[archive.CSV] = made.files[archive.CSV][:-2] + b"1\n"
    for first in (0, limits.ARCHIVE_SEGMENT_ENTRIES):
        name = archive.payloads_name(first)
        made.files[name] = made.files[name].replace(b'{"n":2', b'{"n":3', 1)
    found = [(each.check, each.index) for each in audit(made, jobs=jobs).findings.in_order()]
    assert found == [(3, None), (3, None), (3, None), (11, 4), (11, 2048)]
