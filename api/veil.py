"""Appending needs no token, and must not tell a hidden ledger from one that is not there.

Whoever signs with a key that a ledger knows is told what is wrong with the record. Everyone
else is told, of a ledger that is not public, only what can be said without looking at it: that
the record is malformed, that its signature is wrong, and else that the key has no standing. Of
a ledger that does not exist the same is said, after the same work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger_core.admission import Admitted, admit
from ledger_core.errors import BusyError, LedgerGridError, StandingError
from ledger_core.formats.record import verify_record
from ledger_core.formats.submission import parse_submission
from ledger_core.ledger import Ledger
from ledger_core.merkle.tree import Frontier, Growth
from ledger_core.sequencer import Commit, Outcome
from ledger_core.storage import catalogue
from ledger_core.storage.database import Database

_NO_STANDING = "the author's key is not registered in this ledger, if there is one"


class NoLedger:
    """Stands where there is no ledger: takes records as one would, and refuses them all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def admit(self, raw: bytes) -> Admitted:
        submission = parse_submission(raw)
        return admit(submission, submission.signed.record.ledger)

    def commit(self, admitted: Sequence[Admitted]) -> Commit:
        with self._database.write() as tx:
            catalogue.find_ledger(tx, "")
        refused = [StandingError(_NO_STANDING) for _ in admitted]
        return Commit(refused, Growth(Frontier(), []), is_grown=False)

    def acknowledge(self, commit: Commit, numbers: Iterable[int]) -> list[Outcome]:
        return [StandingError(_NO_STANDING) for _ in numbers]


def veil(
    ledger: Ledger | NoLedger, raws: Sequence[bytes], outcomes: Sequence[Outcome]
) -> list[Outcome]:
    """Return what each author is told; blocking."""
    if isinstance(ledger, Ledger) and ledger.kind == "public":
        return list(outcomes)
    return [
        _veil(ledger, raw, outcome) if isinstance(outcome, LedgerGridError) else outcome
        for raw, outcome in zip(raws, outcomes, strict=True)
    ]


def _veil(ledger: Ledger | NoLedger, raw: bytes, error: LedgerGridError) -> LedgerGridError:
    if isinstance(error, BusyError):
        return error
    try:
        signed = parse_submission(raw).signed
        verify_record(signed)
    except LedgerGridError as plain:
        return plain
    if isinstance(ledger, Ledger) and signed.record.author in ledger.constitution().keys:
        return error
    return StandingError(_NO_STANDING)
