"""Asks one witness about a ledger, and knows how far it is and when it may be asked again.

A witness that does not answer is left alone for twice as long each time, up to five minutes; one
that refuses, or whose answer is worth nothing, is not asked again about that ledger for at least a
minute, up to an hour.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ledger_core.errors import LedgerGridError, UnreachableError, WitnessError
from ledger_core.formats.witness import AddCheckpoint
from ledger_core.ledger import Ledger
from ledger_core.storage.cosignatures import NO_LEDGER, Cosignature
from ledger_core.witness_client import Behind, Cosigned, WitnessClient

_AT_ONCE = 4
"""Requests under way at one witness."""

_TRIES = 3
_ERROR_CHARS = 500


@dataclass(frozen=True)
class Pace:
    """How often witnesses are asked, and how long they are left alone (seconds)."""

    interval_s: float = 1.0
    timeout_s: float = 10.0
    retry_s: float = 1.0
    longest_retry_s: float = 300.0
    refused_s: float = 60.0
    longest_refused_s: float = 3600.0


class Patience:
    """How long somebody is left alone after failing; grows with each time, and varies."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._lock = threading.Lock()
        self._failures = 0
        self._due_s = 0.0

    def fail(self) -> None:
        """Begin to wait, unless somebody who asked at the same time has said so already."""
        with self._lock:
            if not self.is_over:
                return
            wait_s = min(self._longest_s, self._first_s * 2**self._failures)
            self._failures = min(self._failures + 1, 30)
            # Those who failed together do not come back together.
            self._due_s = time.monotonic() + wait_s * random.uniform(0.75, 1.25)

    def recover(self) -> None:
        with self._lock:
            self._failures, self._due_s = 0, 0.0

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._due_s


@dataclass(frozen=True)
class Outcome:
    """What came of asking one witness about one ledger; nothing, if it was not asked after all."""

    ledger_id: int
    witness: Witness
    size: int = 0
    cosigned: Cosigned | None = None
    error: LedgerGridError | None = None

    def lines(self) -> list[Cosignature]:
        """Return the cosignatures to be stored."""
        lines = self.cosigned.lines if self.cosigned is not None else ()
        return [
            Cosignature(self.ledger_id, self.size, x.witness, x.cosigned_at, x.line) for x in lines
        ]

    def troubles(self) -> dict[tuple[int, bytes], str]:
        """Say for ledger and key what is wrong, or that nothing is."""
        client = self.witness.client
        if self.cosigned is not None:
            missing = set(self.cosigned.missing)
            answered = {(NO_LEDGER, digest): "" for digest in client.digests}
            return answered | {
                (self.ledger_id, digest): "its answer has no line by this key"
                if name in missing
                else ""
                for name, digest in zip(client.keys, client.digests, strict=True)
            }
        if self.error is None:
            return {}
        about = NO_LEDGER if isinstance(self.error, UnreachableError) else self.ledger_id
        return {(about, digest): str(self.error)[:_ERROR_CHARS] for digest in client.digests}


class Witness:
    """One witness and what this process knows of it.

    ``patience`` has a lock, and ``pool`` too; the rest belongs to the planning thread.
    """

    def __init__(self, client: WitnessClient, pace: Pace) -> None:
        self.client = client
        self.patience = Patience(pace.retry_s, pace.longest_retry_s)
        self.pool = ThreadPoolExecutor(_AT_ONCE, "witness")
        self.asked: set[int] = set()
        """Ledgers with a request under way."""
        self._pace = pace
        self._done: dict[int, int] = {}
        self._refusals: dict[int, Patience] = {}

    def recall(self, progress: Mapping[tuple[int, bytes], int]) -> None:
        """Begin anew from what is stored: sizes by ledger and key, each cosigned last."""
        self.asked.clear()
        self._done.clear()
        for ledger_id in {ledger_id for ledger_id, _ in progress}:
            sizes = [progress.get((ledger_id, digest)) for digest in self.client.digests]
            known = [size for size in sizes if size is not None]
            if len(known) == len(sizes):
                self._done[ledger_id] = min(known)

    def done(self, ledger_id: int) -> int:
        """Return the size it cosigned last, with all of its keys."""
        return self._done.get(ledger_id, 0)

    def is_idle(self, ledger_id: int) -> bool:
        """Say whether it may be asked about this ledger, as far as this ledger goes."""
        refusal = self._refusals.get(ledger_id)
        return ledger_id not in self.asked and (refusal is None or refusal.is_over)

    def ask(self, ledger: Ledger, ledger_id: int, old: int, size: int, note: bytes) -> Outcome:
        """Ask for a cosignature on the checkpoint of ``size``; ``old`` is what it has, we think."""
        try:
            return Outcome(ledger_id, self, size, self._ask_from(ledger, old, size, note))
        except LedgerGridError as error:
            if isinstance(error, UnreachableError):
                self.patience.fail()
            return Outcome(ledger_id, self, error=error)

    def _ask_from(self, ledger: Ledger, old: int, size: int, note: bytes) -> Cosigned | None:
        """Ask from the size the witness has, which it may tell."""
        for _ in range(_TRIES):
            proof = ledger.prove_consistency(old, size).hashes if 0 < old < size else ()
            answer = self.client.add_checkpoint(AddCheckpoint(old, tuple(proof), note))
            if isinstance(answer, Cosigned):
                return answer
            _check_known(ledger, answer, old)
            if answer.size > size:
                return None  # It cosigned a newer one meanwhile, for another process.
            old = answer.size
        raise WitnessError(f"answered 409 {_TRIES} times, with another size each time")

    def learn(self, outcome: Outcome) -> None:
        """Remember how far it is, or that it is to be left alone."""
        ledger_id = outcome.ledger_id
        if outcome.cosigned is not None:
            self.patience.recover()
        refused = outcome.error is not None and not isinstance(outcome.error, UnreachableError)
        if refused or (outcome.cosigned is not None and outcome.cosigned.missing):
            patience = self._refusals.setdefault(
                ledger_id, Patience(self._pace.refused_s, self._pace.longest_refused_s)
            )
            patience.fail()
        elif outcome.cosigned is not None:
            self._refusals.pop(ledger_id, None)
            self._done[ledger_id] = max(outcome.size, self.done(ledger_id))


def _check_known(ledger: Ledger, answer: Behind, old: int) -> None:
    """Raise unless what the witness says it cosigned is a size of this ledger."""
    if answer.size == old:
        raise WitnessError(f"answered 409 to size {old}, which it says it cosigned last")
    newest = ledger.size()
    if answer.size > newest:
        raise WitnessError(
            f"it cosigned size {answer.size} of {ledger.origin}, which has {newest} entries: "
            "this ledger lost its newest entries, or is a fork of what the witness saw"
        )
