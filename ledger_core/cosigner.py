"""This service as a witness: sees that other logs only grow, and cosigns their checkpoints.

::

    request --parse 400--> origin known? 404 --> signed by its log? 403 --> old <= size? 400
      --> ONE TRANSACTION, the origin's row locked:
          old = size cosigned last? 409 --> proof holds, same size same root? 422 --> row moves
      --> committed --> cosigned

What is cosigned is durable before it is signed, and compared and replaced in one transaction,
whichever process or machine asks. So a witness never takes back what it said: after a crash
between commit and answer, the log learns the size (409) and has its cosignature by asking
again. The time in a cosignature is taken under the lock: at that time no larger tree was known.

A log that signs two roots for one size has equivocated: both notes are kept, for anyone to check.

Source: https://c2sp.org/tlog-witness
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger_core.clock import Clock, now_ms
from ledger_core.errors import (
    CosigningError,
    InconsistentError,
    MalformedError,
    NotFoundError,
    ProofError,
    SignatureError,
    StaleError,
    UnsignedError,
)
from ledger_core.fail_points import reach
from ledger_core.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger_core.formats.note import Note, format_note, parse_note, verify_note
from ledger_core.formats.vkey import AnyWitnessSigner, LogKey, format_vkey
from ledger_core.formats.witness import (
    AddCheckpoint,
    format_cosignatures,
    origin_digest,
    parse_add_checkpoint,
)
from ledger_core.merkle import tree
from ledger_core.storage import cosigned
from ledger_core.storage.cosigned import Cosigned, Equivocation
from ledger_core.storage.database import Database, Transaction

_EVIDENCE = 1_000
"""Equivocations shown at once."""


@dataclass(frozen=True)
class _Submitted:
    """A request whose checkpoint a known key signed; ``note`` has those signatures only."""

    request: AddCheckpoint
    checkpoint: Checkpoint
    text: bytes
    note: bytes


class Cosigner:
    """One witness: its name, its keys, and the logs it knows. Thread-safe."""

    def __init__(
        self,
        database: Database,
        signers: Sequence[AnyWitnessSigner],
        logs: Mapping[str, Sequence[LogKey]],
        clock: Clock = now_ms,
    ) -> None:
        self._database = database
        self._signers = tuple(signers)
        self._logs = logs
        self._digests = {origin_digest(origin): origin for origin in logs}
        self._clock = clock

    @property
    def name(self) -> str:
        return self._signers[0].name

    @property
    def vkeys(self) -> list[str]:
        """The keys that logs and verifiers know this witness by."""
        return [format_vkey(signer.public) for signer in self._signers]

    @property
    def origins(self) -> list[str]:
        """The logs that this witness knows."""
        return sorted(self._logs)

    def add_checkpoint(self, raw: bytes) -> bytes:
        """Cosign a checkpoint (C2SP tlog-witness "add-checkpoint"); return the signature lines.

        Raises :class:`MalformedError` (400), :class:`NotFoundError` (404), and the kinds of
        :class:`CosigningError` (403, 409, 422).
        """
        submitted = self._open(parse_add_checkpoint(raw))
        refusal: CosigningError | None = None
        with self._database.write() as tx:
            known = cosigned.lock(tx, submitted.checkpoint.origin)
            time_s = self._clock() // 1000
            try:
                _check_continues(known, submitted)
            except CosigningError as error:
                # Raised after the commit, so that the evidence is kept.
                refusal = error
                self._keep_evidence(tx, known, submitted)
            else:
                if not known.note or known.size < submitted.checkpoint.size:
                    cosigned.advance(tx, submitted.checkpoint, submitted.note)
                reach("cosigner.before-commit")
        if refusal is not None:
            raise refusal
        reach("cosigner.after-commit")
        return self._cosign(submitted.text, time_s)

    def checkpoint(self, digest: str) -> bytes:
        """Return the newest checkpoint cosigned for the origin with this SHA-256, in hex."""
        origin = self._digests.get(digest)
        time_s = self._clock() // 1000
        with self._database.read() as tx:
            known = cosigned.find(tx, origin) if origin else None
        if known is None:
            raise NotFoundError("no checkpoint of such a log was cosigned")
        return known.note + self._cosign(parse_note(known.note).text, time_s)

    def equivocations(self) -> list[Equivocation]:
        """Return the logs that were caught signing two roots for one size, newest first."""
        with self._database.read() as tx:
            return cosigned.list_equivocations(tx, _EVIDENCE)

    def _open(self, request: AddCheckpoint) -> _Submitted:
        """Return the request if a key known for its origin signed the checkpoint."""
        note = parse_note(request.checkpoint)
        checkpoint = parse_checkpoint(note.text)
        keys = self._logs.get(checkpoint.origin)
        if keys is None:
            raise NotFoundError(f"{checkpoint.origin} is no log that this witness knows")
        try:
            signed = verify_note(note, keys)
        except SignatureError as error:
            raise UnsignedError(str(error)) from None
        if not signed:
            raise UnsignedError(f"no key known for {checkpoint.origin} signed this checkpoint")
        if request.old_size > checkpoint.size:
            raise MalformedError(f"old {request.old_size} is beyond size {checkpoint.size}")
        # Lines that nobody verified are not kept: they might be in anyone's name.
        by = {(key.name, key.key_id) for key in signed}
        lines = {(x.name, x.key_id): x for x in note.signatures}
        own = tuple(line for who, line in lines.items() if who in by)
        return _Submitted(request, checkpoint, note.text, format_note(Note(note.text, own)))

    def _keep_evidence(self, tx: Transaction, known: Cosigned, submitted: _Submitted) -> None:
        new = submitted.checkpoint
        if known.note and known.size == new.size and known.root != new.root:
            found = Equivocation(new.origin, new.size, self._clock(), known.note, submitted.note)
            cosigned.add_equivocation(tx, found)

    def _cosign(self, text: bytes, time_s: int) -> bytes:
        return format_cosignatures(tuple(x.cosign(text, time_s) for x in self._signers))


def _check_continues(known: Cosigned, submitted: _Submitted) -> None:
    """Raise unless the checkpoint is proved to continue what was cosigned last."""
    request, new = submitted.request, submitted.checkpoint
    if request.old_size != known.size:
        message = f"size {known.size} was cosigned last, not {request.old_size}"
        raise StaleError(message, size=known.size)
    try:
        if known.size == 0:
            _check_first(new, request.proof)
        else:
            tree.check_consistency(known.size, new.size, known.root, new.root, request.proof)
    except ProofError as error:
        raise InconsistentError(str(error)) from None


def _check_first(new: Checkpoint, proof: Sequence[bytes]) -> None:
    """Any tree continues an empty one; but that has one root, and there is nothing to prove."""
    if proof:
        raise ProofError("there is no proof from an empty tree")
    if new.size == 0 and new.root != tree.EMPTY_ROOT:
        raise ProofError("a tree of size 0 has the root of no leaves")
