"""What can go wrong at the client, beside the errors that a ledger itself answers with.

::

    ledger_core.errors.LedgerGridError
    ├── UnreachableError          no answer that settles it, within the caller's patience
    │   └── PendingError          … and the record waits in the outbox, safe on disk
    ├── StillOpenError            a proposal that did not end within the caller's patience
    └── DistrustError             an answer came, and it does not verify
        ├── ForgedReceiptError    a receipt that does not prove our record's place
        ├── ForgedEntryError      an entry, proposal or outcome that is not what it is said to be
        ├── ForkedLedgerError     a checkpoint that does not continue the one remembered
        ├── NewEpochError         the log lost history and goes on under a new origin
        └── StrangeLogKeyError    not the log key this ledger was known under

A refusal by the ledger arrives as the error the ledger raised, found by its ``code``:
:class:`~ledger_core.errors.StandingError` for ``no-standing``, and so on.
"""

from __future__ import annotations

from pathlib import Path

from ledger_core.errors import LedgerGridError


class UnreachableError(LedgerGridError):
    code = "unreachable"
    title = "The ledger gave no usable answer"


class PendingError(UnreachableError):
    """The outcome is unknown; the record ``id`` stays in the outbox and is sent again later."""

    code = "pending"
    title = "Not acknowledged yet; kept in the outbox"

    def __init__(self, message: str, *, id: str) -> None:
        super().__init__(message)
        self.id = id


class StillOpenError(LedgerGridError):
    """Those concerned have not agreed yet, nor disagreed; wait again, or ask whom it waits for."""

    code = "still-open"
    title = "The proposal has no outcome yet"


class DistrustError(LedgerGridError):
    code = "distrust"
    title = "The ledger's answer does not verify"


class ForgedReceiptError(DistrustError):
    code = "forged-receipt"
    title = "Receipt does not prove the record's place"


class ForgedEntryError(DistrustError):
    code = "forged-entry"
    title = "Entry is not what the ledger says it is"


class ForkedLedgerError(DistrustError):
    """Two checkpoints that no honest log signs both; ``evidence`` is the file that holds them."""

    code = "forked-ledger"
    title = "Ledger does not continue what it signed before"

    def __init__(self, message: str, *, evidence: Path | None = None) -> None:
        super().__init__(message)
        self.evidence = evidence


class NewEpochError(DistrustError):
    """History is lost, and the log goes on as ``origin``, which nobody accepted here yet."""

    code = "new-epoch"
    title = "Ledger went on from an older backup"

    def __init__(self, message: str, *, origin: str) -> None:
        super().__init__(message)
        self.origin = origin


class StrangeLogKeyError(DistrustError):
    code = "strange-log-key"
    title = "Not the log key this ledger was known under"
