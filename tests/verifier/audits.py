"""Runs the verifier on archives of tests and looks at what it says first."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ledger_core.formats.trust_policy import parse_trust_policy
from tests.support.archives import Archive, Log
from verifier.audit import Options, Verdict, verify
from verifier.findings import Finding
from verifier.report import exit_code


def audit(made: Archive, **options: Any) -> Verdict:
    """Verify an archive as a folder."""
    with tempfile.TemporaryDirectory() as folder:
        return verify(Options(archive=made.write(Path(folder)), **options))


def first(made: Archive, **options: Any) -> Finding:
    """Return the finding that is named first; there must be one, and it must fail the archive."""
    verdict = audit(made, **options)
    finding = verdict.findings.first()
    assert finding is not None
    assert exit_code(verdict, None) == 1
    return finding


def small_log() -> Log:
    """A charter, an agent, six notes, a call: nine entries."""
    log = Log.founded()
    for number in range(6):
        log.note({"n": number})
    log.call()
    return log


def policy_of(log: Log, *, quorum: bool = False) -> Any:
    return parse_trust_policy(log.policy(quorum=quorum))
