"""docs/spec/verification.md says what the verifier does: its numbers, words, bounds, examples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger_core import limits
from tests.docs.pages import blocks, read
from tests.support.archives import Archive, Log
from tests.verifier.audits import audit, small_log
from verifier import reading, report
from verifier.__main__ import main
from verifier.audit import Options
from verifier.findings import CLAIMS, MOST_KEPT, SHOWN_CHARS, Likely

PAGE = read("docs/spec/verification.md")
GOOD, BAD, REPORT = (each.text for each in blocks(PAGE))
WITHHELD = [(8, "request")]


def rows(heading: str) -> dict[str, list[str]]:
    """Return the rows of a section's last table, by their first cell."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    tables = [each for each in section.strip().split("\n\n") if each.startswith("|")]
    lines = tables[-1].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: rest for first, *rest in cells}


def test_every_check_stands_on_the_page_with_its_number_name_and_claim() -> None:
    told = {int(number): tuple(rest) for number, rest in rows("Checks").items()}
    assert told == {number: tuple(claim) for number, claim in CLAIMS.items()}


def test_every_check_is_explained_in_detail() -> None:
    detail = PAGE.split("In detail:")[1].split("\n## ")[0]
    assert [int(n) for n in re.findall(r"^(\d+)\. ", detail, re.MULTILINE)] == list(CLAIMS)


def test_every_level_is_told_in_the_words_of_the_report() -> None:
    assert rows("Levels") == {level: [means] for level, means in report.LEVELS.items()}


def test_every_likely_class_is_told_once() -> None:
    assert list(rows("Findings")) == [likely.value for likely in Likely]


def test_every_exit_code_is_told() -> None:
    codes = (report.PASS, report.INTEGRITY, report.EVIDENCE, report.MALFORMED, report.USAGE)
    assert list(rows("Exit codes")) == [str(code) for code in codes]


def gaps() -> Iterator[str]:
    log = small_log()
    log.note({"n": 7})
    for made in (log.archive(2, 9, withheld=WITHHELD), log.archive()):
        yield from report.not_proven(audit(made), Options(archive=Path("archive.zip")))
    voices = replace(
        audit(log.archive(2, 9)),
        not_judged=2,
        counters_not_judged=1,
        has_counters=True,
        changes_not_judged=1,
        later=1,
    )
    assert voices.manifest is not None
    counts = msgspec.structs.replace(
        voices.manifest.counts, entries_withheld=1, parts_redacted=1, parts_erased=1
    )
    voices.manifest = msgspec.structs.replace(voices.manifest, counts=counts)
    yield from report.not_proven(voices, Options(archive=Path("archive.zip")))


def test_everything_that_is_not_proven_is_told() -> None:
    section = PAGE.split("\n## What is never proven\n")[1].split("\n## ")[0]
    told = set(re.findall(r"^- (.*)$", section, re.MULTILINE))
    assert {re.sub(r"\d+", "N", gap) for gap in gaps()} == told


@pytest.mark.parametrize(
    "bound",
    [
        limits.ARCHIVE_FILES,
        limits.ARCHIVE_MANIFEST_BYTES,
        limits.ARCHIVE_REGISTER_BYTES,
        limits.ARCHIVE_SEGMENT_ENTRIES,
        limits.ENTRY_BYTES,
        limits.NOTE_BYTES,
        limits.PAYLOAD_PART_BYTES,
        reading.DIRECTORY_BYTES,
        reading.FOLDER_DEPTH,
        reading.NAME_CHARS,
    ],
)
def test_every_bound_is_told(bound: int) -> None:
    assert re.search(rf"\b{bound:,}\b", PAGE.split("\n## Bounds\n")[1])


def test_the_bounds_of_findings_are_told() -> None:
    text = PAGE.split("\n## Findings\n")[1]
    assert f"{MOST_KEPT} findings" in text
    assert f"{SHOWN_CHARS} characters" in text


# --- the examples are real runs ------------------------------------------------------


def replaced(log: Log) -> Archive:
    """Put another payload in the place of entry 4's, as a dishonest operator would."""
    made, name = log.archive(withheld=WITHHELD), "payloads/000000000000.parts"
    made.files[name] = made.files[name].replace(b'{"n":2}', b'{"n":9}')
    return made.reseal()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    log = small_log()
    log.archive(withheld=WITHHELD).write_zip(tmp_path / "archive.zip")
    replaced(log).write_zip(tmp_path / "tampered.zip")
    (tmp_path / "trust.policy").write_bytes(log.policy())
    (tmp_path / "first.receipt").write_bytes(log.receipt(3, 6))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_example_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    command, output = GOOD.split("\n", 1)
    assert main(command.removeprefix("$ python -m verifier ").split()) == report.PASS
    assert capsys.readouterr().out == output


@pytest.mark.usefixtures("folder")
def test_the_finding_shown_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tampered.zip", "--trust", "trust.policy"]) == report.INTEGRITY
    assert BAD in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_the_report_shown_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tampered.zip", "--trust", "trust.policy", "--json"]) == report.INTEGRITY
    assert json.loads(capsys.readouterr().out) == json.loads(REPORT)


def members(value: Any) -> set[str]:
    """Return the names of members, but not those inside of copies from the manifest."""
    if isinstance(value, list):
        return {name for each in value for name in members(each)}
    if not isinstance(value, dict):
        return set()
    inner = (members(each) for name, each in value.items() if name not in ("scope", "counts"))
    return set(value).union(*inner)


def test_every_member_of_the_report_is_told() -> None:
    section = PAGE.split("\n## Report\n")[1].split("\n## ")[0].rsplit("```", 1)[1]
    assert {name for name in members(json.loads(REPORT)) if f"`{name}`" not in section} == set()
