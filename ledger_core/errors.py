"""Every error LedgerGrid raises on purpose.

::

    LedgerGridError
    ├── MalformedError            bytes that no formatter of ours would emit
    │   └── TooLargeError         more bytes, parts or depth than limits.py allows
    ├── RefusedError              a well-formed record that may not enter this ledger
    │   ├── UnknownTypeError      no such record type or version
    │   ├── ForeignLedgerError    made for another ledger
    │   ├── SignatureError        signature, key or encoding not acceptable
    │   ├── CommitmentError       payload does not match what the record commits to
    │   ├── PayloadError          payload does not follow its type's schema or rule
    │   ├── StandingError         the author may not write this, here, now
    │   │   ├── ClosedError       the ledger was closed: nobody writes there any more
    │   │   └── HeadMovedError    an amendment of a version that is not the current one
    │   ├── DanglingReferenceError  names an entry or a party that is not there
    │   └── ErasedError           its payload was erased, here or elsewhere, and is not taken again
    ├── ConflictError             same id, other bytes
    ├── NotFoundError             not there, or not for this reader
    ├── AccessError               no token, or none that counts
    │   └── ForbiddenError        a token that may not do this
    ├── BusyError                 the pool is full; try again later
    ├── LimitError                an allowance is used up, and whose; nothing was stored
    │   ├── AllowanceError        … a budget
    │   └── RateError             … calls in any sixty seconds
    ├── StoppedError              all calls are stopped, by an entry
    ├── ReadOnlyError             the ledger does not take appends now, and why
    ├── StorageError              the database refused or cannot be reached; nothing was stored
    │   └── OutcomeUnknownError   the commit broke off: stored or not, ask again by id
    ├── ProofError                a Merkle proof that does not prove
    ├── CosigningError            a checkpoint that this service, as a witness, does not cosign
    │   ├── UnsignedError         nobody known for its log signed it
    │   ├── StaleError            it does not build on what was cosigned last; `size` says what
    │   └── InconsistentError     it does not continue what was cosigned
    ├── WitnessError              a witness's answer that is no cosignature
    │   └── UnreachableError      it did not answer, or not now
    ├── IntegrityError            stored data contradicts itself
    │   └── ForkError             the database does not continue what was signed
    └── SettingsError             a setting or command line that cannot work

``code`` is stable: it names the error in problem+json, on the command line and
in ``docs/reference/errors.md``.
"""

from __future__ import annotations

from typing import ClassVar


class LedgerGridError(Exception):
    """Base of all errors raised on purpose."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Something went wrong"


class MalformedError(LedgerGridError):
    code = "malformed"
    title = "Malformed input"


class TooLargeError(MalformedError):
    code = "too-large"
    title = "Input is larger than allowed"


class RefusedError(LedgerGridError):
    code = "refused"
    title = "Record refused"


class UnknownTypeError(RefusedError):
    code = "unknown-type"
    title = "Unknown record type or version"


class ForeignLedgerError(RefusedError):
    code = "foreign-ledger"
    title = "Record was made for another ledger"


class SignatureError(RefusedError):
    code = "bad-signature"
    title = "Signature does not verify"


class CommitmentError(RefusedError):
    code = "bad-commitment"
    title = "Payload does not match its commitment"


class PayloadError(RefusedError):
    code = "bad-payload"
    title = "Payload does not follow its record type"


class StandingError(RefusedError):
    code = "no-standing"
    title = "Author may not write this here"


class ClosedError(StandingError):
    code = "closed"
    title = "Ledger is closed"


class HeadMovedError(StandingError):
    """An amendment names a version that is not the current one; ``head`` is its leaf hash."""

    code = "head-moved"
    title = "Another version is current"

    def __init__(self, message: str, *, head: str) -> None:
        super().__init__(message)
        self.head = head


class DanglingReferenceError(RefusedError):
    code = "bad-reference"
    title = "Reference to an entry or a party that is not in this ledger"


class ErasedError(RefusedError):
    code = "erased"
    title = "Payload was erased"


class ConflictError(LedgerGridError):
    """The id is taken by other bytes; the first record stands."""

    code = "conflict"
    title = "Same id, other bytes"

    def __init__(self, message: str, *, stored: str, received: str) -> None:
        super().__init__(message)
        self.stored = stored
        self.received = received


class NotFoundError(LedgerGridError):
    code = "not-found"
    title = "Not found"


class AccessError(LedgerGridError):
    code = "unauthorized"
    title = "Not allowed"


class ForbiddenError(AccessError):
    code = "forbidden"
    title = "This token may not do that"


class BusyError(LedgerGridError):
    """Too much is waiting already; ``retry_after_s`` says when to come back."""

    code = "busy"
    title = "Too many appends are waiting"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LimitError(LedgerGridError):
    """An allowance is used up; nothing was stored.

    ``label`` names whose it is, ``used`` what was used of ``limit``. ``retry_after_s``: when
    there will be room again, None if never by itself.
    """

    code = "limit"
    title = "Limit reached"

    def __init__(
        self, message: str, *, label: str, used: int, limit: int, retry_after_s: int | None
    ) -> None:
        super().__init__(message)
        self.label, self.used, self.limit = label, used, limit
        self.retry_after_s = retry_after_s


class AllowanceError(LimitError):
    """A budget; ``used`` and ``limit`` are micro-USD."""

    code = "budget-exceeded"
    title = "Budget is used up"


class RateError(LimitError):
    """A rate; ``used`` and ``limit`` are calls in sixty seconds."""

    code = "rate-exceeded"
    title = "Too many calls in sixty seconds"


class StoppedError(LedgerGridError):
    code = "stopped"
    title = "All calls are stopped"


class ReadOnlyError(LedgerGridError):
    code = "read-only"
    title = "Ledger is read-only"


class StorageError(LedgerGridError):
    code = "storage"
    title = "Database refused"


class OutcomeUnknownError(StorageError):
    code = "outcome-unknown"
    title = "Stored or not: send the same record again to learn which"


class ProofError(LedgerGridError):
    code = "bad-proof"
    title = "Proof does not hold"


class CosigningError(LedgerGridError):
    code = "not-cosigned"
    title = "This witness does not cosign it"


class UnsignedError(CosigningError):
    code = "unsigned"
    title = "Checkpoint is not signed by its log"


class StaleError(CosigningError):
    """``size`` is the one cosigned last: the proof must begin there."""

    code = "stale"
    title = "Another size was cosigned last"

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class InconsistentError(CosigningError):
    code = "inconsistent"
    title = "Checkpoint does not continue what was cosigned"


class WitnessError(LedgerGridError):
    code = "witness"
    title = "Witness did not cosign"


class UnreachableError(WitnessError):
    code = "witness-unreachable"
    title = "Witness does not answer"


class IntegrityError(LedgerGridError):
    """Stored data contradicts itself; ``index`` is the first bad place, if known."""

    code = "integrity"
    title = "Stored data contradicts itself"

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class ForkError(IntegrityError):
    code = "fork"
    title = "Database does not continue what was signed"


class SettingsError(LedgerGridError):
    code = "settings"
    title = "Settings cannot work"
