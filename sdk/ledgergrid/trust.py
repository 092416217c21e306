"""Whom a client believes about one ledger, and that what it believes never goes back.

The log's key comes, first that applies: from the caller (``log_key`` or ``trust``), from the
folder of an earlier run, or from the ledger itself at first use; then it is remembered and
no other is taken. Every checkpoint met afterwards must continue the last one remembered, or
be continued by it.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from ledger_core import ids, limits
from ledger_core.clock import Clock, format_time
from ledger_core.errors import (
    IntegrityError,
    LedgerGridError,
    MalformedError,
    ProofError,
    SettingsError,
)
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.trust_policy import NO_QUORUM, Trusted, TrustPolicy, verify_trusted
from ledger_core.formats.vkey import LogKey, format_vkey, parse_vkey
from ledger_core.merkle import tree
from ledgergrid.errors import DistrustError, ForkedLedgerError, StrangeLogKeyError
from ledgergrid.memory import Evidence, Memory
from ledgergrid.wire import (
    Answer,
    Ask,
    Flow,
    NoAnswerError,
    ask,
    check_settled,
    make_error,
    parse_problem,
    parse_retry_after,
)

log = logging.getLogger("ledgergrid")

_MOST_ACCEPTED = 1024


class LedgerInfo(msgspec.Struct, frozen=True):
    """What a ledger says of itself; more than these fields is ignored."""

    origin: str
    log_key: str


class ConsistencyProof(msgspec.Struct, frozen=True):
    """What a ledger answers when asked to prove that one checkpoint continues another."""

    hashes: tuple[str, ...]


def policy_of(log_key: str) -> TrustPolicy:
    """Make the trust policy that believes one log and asks for no witness."""
    key = parse_vkey(log_key)
    if not isinstance(key, LogKey):
        raise SettingsError("log_key is a witness's key, not a log's")
    return TrustPolicy(logs=[key], quorum=NO_QUORUM)


class Trust:
    """The policy, the origin it stands for, and the last checkpoint.

    ``_policy`` and ``_origin`` are set once by :meth:`learn`; ``_accepted`` only saves
    work: what was found consistent stays so, because memory only moves forward. ``_reopened`` is
    the last note read from memory, with what it says.
    """

    def __init__(self, memory: Memory, given: TrustPolicy | None, clock: Clock) -> None:
        self._memory = memory
        self._given = given
        self._clock = clock
        self._policy = TrustPolicy()
        self._origin = ""
        self._accepted: set[Checkpoint] = set()
        self._reopened: tuple[bytes, Checkpoint] | None = None

    @property
    def origin(self) -> str:
        return self._origin

    @property
    def policy(self) -> TrustPolicy:
        return self._policy

    def learn(self) -> Flow[str]:
        """Settle whom to believe, asking the ledger only if nobody else says; return its origin."""
        if not self._origin:
            policy = self._given or self._known_policy()
            origins = {key.name for key in policy.logs} if policy else set()
            if policy is not None and len(origins) == 1:
                self._settle(policy, origins.pop())
            else:
                yield from self._learn_from_ledger(policy)
        return self._origin

    def _known_policy(self) -> TrustPolicy | None:
        key = self._memory.log_key()
        return None if key is None else TrustPolicy(logs=[key], quorum=NO_QUORUM)

    def _learn_from_ledger(self, policy: TrustPolicy | None) -> Flow[None]:
        answer = yield from ask(Ask("GET", ""))
        check_understood(answer)
        try:
            info = msgspec.json.decode(answer.content, type=LedgerInfo)
            key = parse_vkey(info.log_key)
        except (msgspec.DecodeError, UnicodeDecodeError, MalformedError) as error:
            raise NoAnswerError(f"not a ledger's description: {error}") from None
        if not isinstance(key, LogKey) or key.name != info.origin:
            raise DistrustError(f"ledger {info.origin[:80]} offers a key that is not its log's")
        if policy is None:
            log.warning("trusting %s on first use; pin it with log_key=", format_vkey(key))
            policy = TrustPolicy(logs=[key], quorum=NO_QUORUM)
        elif key not in policy.logs:
            raise StrangeLogKeyError(f"{format_vkey(key)} is not in the trust policy")
        self._settle(policy, info.origin)

    def _settle(self, policy: TrustPolicy, origin: str) -> None:
        keys = [key for key in policy.logs if key.name == origin]
        if len(keys) == 1:
            self._memory.pin(keys[0])
        self._policy, self._origin = policy, origin

    def last_checkpoint(self) -> Checkpoint | None:
        """Return the last checkpoint verified, in this run or an earlier one."""
        note = self._memory.checkpoint()
        return None if note is None else self._reopen(note)

    def _reopen(self, note: bytes) -> Checkpoint:
        known = self._reopened
        if known is not None and known[0] == note:
            return known[1]
        try:
            checkpoint = verify_trusted(note, self._policy).checkpoint
        except LedgerGridError as error:
            raise IntegrityError(
                f"the checkpoint remembered in {self._memory.folder} does not verify: {error}"
            ) from error
        self._reopened = (note, checkpoint)
        return checkpoint

    def refresh(self) -> Flow[Checkpoint]:
        """Fetch the newest checkpoint, verify it and demand consistency."""
        answer = yield from ask(Ask("GET", "/checkpoint", limit_bytes=limits.NOTE_BYTES))
        check_understood(answer)
        try:
            trusted = verify_trusted(answer.content, self._policy)
        except LedgerGridError as error:
            raise DistrustError(f"checkpoint of {self._origin}: {error}") from error
        if trusted.checkpoint.origin != self._origin:
            raise DistrustError(f"checkpoint is of {trusted.checkpoint.origin}")
        yield from self.accept(trusted, answer.content)
        return trusted.checkpoint

    def accept(self, trusted: Trusted, note: bytes) -> Flow[None]:
        """Demand that a checkpoint agrees with the one remembered; remember the larger.

        Raises :class:`ForkedLedgerError`, and keeps both checkpoints as evidence.
        """
        new = trusted.checkpoint
        while new not in self._accepted:
            before = self._memory.checkpoint()
            if before is not None:
                old = self._reopen(before)
                yield from self._check_consistent(old, new, before, note)
                if new.size <= old.size:
                    break
            if self._memory.replace_checkpoint(before, note):
                break
            # Another thread or process was quicker: compare with what it remembered.
        if len(self._accepted) >= _MOST_ACCEPTED:
            self._accepted = set()
        self._accepted.add(new)

    def _check_consistent(
        self, old: Checkpoint, new: Checkpoint, old_note: bytes, new_note: bytes
    ) -> Flow[None]:
        if old == new:
            return
        first, second = sorted((old, new), key=lambda checkpoint: checkpoint.size)
        said = ""
        try:
            if first.size == second.size:
                raise ProofError(f"two roots for one size, {first.size}")
            answer = yield from ask(
                Ask("GET", f"/proofs/consistency?from={first.size}&to={second.size}")
            )
            said = answer.content.decode("utf-8", "backslashreplace")
            hashes = _read_proof(answer)
            tree.check_consistency(first.size, second.size, first.root, second.root, hashes)
        except ProofError as error:
            path = self._keep_evidence(str(error), old_note, new_note, said)
            raise ForkedLedgerError(
                f"{self._origin} shows size {new.size}, which does not agree with size {old.size} "
                f"verified earlier: {error}; evidence is kept in {path}",
                evidence=path,
            ) from error

    def _keep_evidence(self, why: str, old_note: bytes, new_note: bytes, said: str) -> Path:
        return self._memory.keep_evidence(
            Evidence(
                why=why,
                found_at=format_time(self._clock()),
                log_keys=tuple(format_vkey(key) for key in self._policy.logs),
                remembered=old_note.decode(),
                received=new_note.decode(),
                answer=said,
            )
        )


def check_understood(answer: Answer) -> None:
    """Raise unless a read was answered with 200: what the ledger said, or that it said nothing."""
    if answer.status != 200:
        problem = parse_problem(answer.content)
        check_settled(answer.status, problem, parse_retry_after(answer.headers))
        raise make_error(answer.status, problem)


def _read_proof(answer: Answer) -> list[bytes]:
    if answer.status in {400, 404, 409, 422}:
        # A ledger that signed both sizes has both; one that was rolled back has not.
        raise ProofError(f"the ledger does not prove it: HTTP status {answer.status}")
    check_understood(answer)
    try:
        proof = msgspec.json.decode(answer.content, type=ConsistencyProof)
        if len(proof.hashes) > limits.PROOF_HASHES:
            raise ProofError(f"proof has more than {limits.PROOF_HASHES} hashes")
        return [ids.parse_digest(text) for text in proof.hashes]
    except (msgspec.DecodeError, UnicodeDecodeError, MalformedError) as error:
        raise ProofError(f"the ledger's proof is not one: {error}") from None
