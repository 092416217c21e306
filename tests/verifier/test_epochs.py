"""What an archive says of an epoch, and what it takes to trust a log across one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger_core.formats.trust_policy import parse_trust_policy
from ledger_core.ledger import Ledger
from ledger_core.records.types.epoch import Statement
from tests.support.backups import REASON, Backups, begin_epoch, lose
from tests.support.ledgers import Service, a_service, append_notes, trust_policy
from verifier.audit import Options, Verdict, verify
from verifier.evidence import parse_kept_receipt
from verifier.report import build, exit_code, format_html, format_text


@dataclass
class Story:
    """A ledger in its second epoch: five entries kept, four lost, four appended since."""

    ledger: Ledger
    statement: Statement
    old_policy: str
    kept: list[bytes]
    lost: list[bytes]
    folder: Path

    def audit(
        self,
        policy: str | None = None,
        start: int = 0,
        end: int | None = None,
        receipts: Sequence[bytes] = (),
        accepted: Sequence[str] = (),
    ) -> tuple[Verdict, Options]:
        path = self.folder / f"{start}-{end}.zip"
        path.write_bytes(b"".join(self.ledger.export(start, end, "auditor")))
        kept = tuple(parse_kept_receipt(f"receipt {n}", each) for n, each in enumerate(receipts))
        options = Options(
            archive=path,
            policy=None if policy is None else parse_trust_policy(policy.encode()),
            evidence=kept,
            accepted=frozenset(accepted),
        )
        return verify(options), options


@pytest.fixture
def story(sqlite_url: str, tmp_path: Path) -> Story:
    with a_service(sqlite_url, tmp_path) as service:
        policies: list[str] = []
        author, kept, lost = lose(Backups(service, None, tmp_path))
        policies.append(trust_policy(_ledger(service)))
        statement, ledger = begin_epoch(service)
        append_notes(ledger, author, 3, batch=1)
        return Story(ledger, statement, policies[0], kept, lost, tmp_path)


def _ledger(service: Service) -> Ledger:
    return service.open().ledgers.get("main")


def test_an_archive_with_an_epoch_verifies_and_tells_it_on_page_one(story: Story) -> None:
    verdict, options = story.audit()
    assert verdict.findings.first() is None
    report = build(verdict, options, None)
    [told] = report["epochs"]
    assert (told["index"], told["old_origin"], told["new_origin"], told["reason"]) == (
        5,
        story.statement.old_origin,
        story.statement.new_origin,
        REASON,
    )
    assert told["lost"] == [{"origin": story.statement.old_origin, "start": 5, "end": 9}]
    assert [each["member"] for each in told["signed_by"]] == [None]
    for said in (format_text(report), format_html(report)):
        head = said[: said.index("Not proven")]
        assert REASON in head
        assert story.statement.new_origin in head
    assert format_text(report).index(REASON) < format_text(report).index(" 1 The archive")


def test_trust_in_the_log_ends_at_an_epoch_unless_the_user_goes_on(story: Story) -> None:
    verdict, _ = story.audit(story.old_policy)
    found = verdict.findings.first()
    assert found is not None
    assert (found.check, found.index) == (4, 5)
    assert f"--accept-epoch {story.statement.new_origin}" in found.found
    assert exit_code(verdict, None) == 1
    verdict, _ = story.audit(story.old_policy, accepted=[story.statement.new_origin])
    assert verdict.findings.first() is None
    assert verdict.level == "L1"
    verdict, _ = story.audit(trust_policy(story.ledger))
    assert verdict.level == "L1"
    verdict, _ = story.audit(story.old_policy, accepted=[f"{story.statement.new_origin}0"])
    assert exit_code(verdict, None) == 1


def test_an_epoch_from_before_the_range_is_shown_and_not_followed(story: Story) -> None:
    """Its fork is not in the archive, so nothing ties it to the key that is trusted."""
    verdict, options = story.audit(start=6)
    assert verdict.findings.first() is None
    report = build(verdict, options, None)
    assert [each["index"] for each in report["epochs"]] == [5]
    assert any("begins on the tree" in gap for gap in report["not_proven"])
    verdict, _ = story.audit(story.old_policy, start=6, accepted=[story.statement.new_origin])
    assert exit_code(verdict, None) == 1
    verdict, _ = story.audit(trust_policy(story.ledger), start=6)
    assert verdict.level == "L1"


def test_a_range_of_the_first_epoch_is_what_it_always_was(story: Story) -> None:
    verdict, options = story.audit(story.old_policy, end=5)
    assert verdict.level == "L1"
    assert build(verdict, options, None)["epochs"] == []
    assert verdict.manifest is not None
    assert verdict.manifest.origin == story.statement.old_origin
    assert verdict.manifest.origins == ()


def test_kept_receipts_hold_and_lost_ones_are_lost_without_failing(story: Story) -> None:
    policy, accepted = story.old_policy, [story.statement.new_origin]
    verdict, _ = story.audit(policy, receipts=[*story.kept, *story.lost], accepted=accepted)
    assert exit_code(verdict, None) == 0
    said = [each for each in verdict.findings.in_order() if each.check == 14]
    assert [each.level for each in said] == ["warn"] * 4
    assert all("lost in the epoch of entry 5" in each.found for each in said)
    assert "size 6 of" in said[0].field


@pytest.mark.parametrize("start", [0, 3, 5])
def test_the_fork_is_seen_wherever_the_range_begins(start: int, story: Story) -> None:
    verdict, _ = story.audit(story.old_policy, start, accepted=[story.statement.new_origin])
    assert verdict.level == "L1"
