"""Archives of a log whose key was handed over, for those who trust the first key only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ledger_core.formats.trust_policy import parse_trust_policy
from ledger_core.ledger import Ledger
from tests.support.ledgers import a_service, append_notes, register, trust_policy
from verifier.audit import Options, Verdict, verify
from verifier.evidence import parse_kept_receipt
from verifier.report import exit_code


@pytest.fixture
def rotated(sqlite_url: str, tmp_path: Path) -> Iterator[tuple[Ledger, str, list[bytes]]]:
    """Give a ledger with three keys, a trust policy that names the first, receipts of each time."""
    with a_service(sqlite_url, tmp_path) as service:
        ledger = service.open().ledgers.create("main")
        author = register(ledger)
        policy = trust_policy(ledger)
        receipts = [each.receipt for each in append_notes(ledger, author, 2, batch=1)]
        for _ in range(2):
            ledger.rotate_log_key()
            receipts += [each.receipt for each in append_notes(ledger, author, 1)]
        yield ledger, policy, receipts


def audit(
    ledger: Ledger,
    folder: Path,
    policy: str,
    start: int = 0,
    end: int | None = None,
    receipts: Sequence[bytes] = (),
) -> Verdict:
    path = folder / f"{start}-{end}.zip"
    path.write_bytes(b"".join(ledger.export(start, end, "auditor")))
    kept = tuple(parse_kept_receipt(f"receipt {n}", each) for n, each in enumerate(receipts))
    return verify(Options(archive=path, policy=parse_trust_policy(policy.encode()), evidence=kept))


def check_good(verdict: Verdict) -> None:
    assert verdict.findings.first() is None
    assert verdict.is_trusted
    assert exit_code(verdict, None) == 0


def test_whoever_trusts_the_first_key_trusts_its_heirs(
    rotated: tuple[Ledger, str, list[bytes]], tmp_path: Path
) -> None:
    ledger, policy, receipts = rotated
    verdict = audit(ledger, tmp_path, policy, receipts=receipts)
    check_good(verdict)
    assert verdict.log_key == ledger.log_keys()[2][1]


@pytest.mark.parametrize(("start", "end", "key"), [(0, 4, 0), (2, 5, 1), (5, 6, 1), (7, 8, 2)])
def test_a_range_that_ends_before_a_handover_is_signed_by_the_key_of_then(
    rotated: tuple[Ledger, str, list[bytes]], tmp_path: Path, start: int, end: int, key: int
) -> None:
    ledger, policy, _ = rotated
    verdict = audit(ledger, tmp_path, policy, start, end)
    check_good(verdict)
    assert verdict.log_key == ledger.log_keys()[key][1]


def test_a_key_that_no_trusted_key_handed_over_to_is_not_trusted(
    rotated: tuple[Ledger, str, list[bytes]], tmp_path: Path
) -> None:
    ledger, _, receipts = rotated
    last = f"log {ledger.log_keys()[2][1]}\nquorum none\n"
    check_good(audit(ledger, tmp_path, last))
    verdict = audit(ledger, tmp_path, last, 0, 4)
    assert not verdict.is_trusted
    assert exit_code(verdict, None) == 1
    assert audit(ledger, tmp_path, last, 0, 8, receipts).findings.first() is not None


def test_receipts_of_every_time_count_without_a_policy_too(
    rotated: tuple[Ledger, str, list[bytes]], tmp_path: Path
) -> None:
    ledger, _, receipts = rotated
    path = tmp_path / "whole.zip"
    path.write_bytes(b"".join(ledger.export(0, None, "auditor")))
    kept = tuple(parse_kept_receipt(f"receipt {n}", each) for n, each in enumerate(receipts))
    assert verify(Options(archive=path, evidence=kept)).findings.first() is None
