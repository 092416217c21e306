"""Whom a client believes about one ledger, and that what it believes never goes back.

The log's key comes, first that applies: from the caller (``log_key`` or ``trust``), from the
folder of an earlier run, or from the ledger itself at first use; then it is remembered and
no other is taken, except one that it handed over to itself (``log.key/1``): its heir, which is
remembered too. Every checkpoint met afterwards must continue the last one remembered, or be
continued by it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

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
from ledger_core.formats.note import parse_note
from ledger_core.formats.trust_policy import NO_QUORUM, Trusted, TrustPolicy, verify_trusted
from ledger_core.formats.vkey import LogKey, format_vkey, parse_vkey
from ledger_core.merkle import tree
from ledgergrid.entries import (
    EntryAnswer,
    VerifiedEntry,
    fetch_entry,
    fetch_receipt,
    open_entry,
    read_heir,
    split_checkpoint,
)
from ledgergrid.errors import (
    DistrustError,
    ForkedLedgerError,
    NewEpochError,
    StrangeLogKeyError,
)
from ledgergrid.memory import Evidence, Heir, Memory
from ledgergrid.wire import (
    Answer,
    Ask,
    Flow,
    NoAnswerError,
    ask,
    check_understood,
)

log = logging.getLogger("ledgergrid")

_MOST_ACCEPTED = 1024
_MOST_HEIRS = 1000


class LedgerInfo(msgspec.Struct, frozen=True):
    """What a ledger says of itself; more than these fields is ignored."""

    origin: str
    log_key: str


class _NamedKey(msgspec.Struct, frozen=True):
    since: Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_INTEGER)]
    log_key: str


class _NamedOrigin(msgspec.Struct, frozen=True):
    since: Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_INTEGER)]
    origin: Annotated[str, msgspec.Meta(max_length=limits.ORIGIN_CHARS)]


class _KeyHistory(msgspec.Struct, frozen=True):
    log_keys: Annotated[tuple[_NamedKey, ...], msgspec.Meta(max_length=_MOST_HEIRS)] = ()
    origins: Annotated[tuple[_NamedOrigin, ...], msgspec.Meta(max_length=limits.EPOCHS)] = ()


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

    ``_origin`` is set once by :meth:`learn`. ``_heirs``, and ``_policy`` with them, only gain:
    what memory holds. ``_accepted`` only saves work: what was found consistent stays so, because
    memory only moves forward. ``_reopened`` is the last note read from memory, with what it says.
    """

    def __init__(self, memory: Memory, given: TrustPolicy | None, clock: Clock) -> None:
        self._memory = memory
        self._given = given
        self._clock = clock
        self._policy = TrustPolicy()
        self._origin = ""
        self._heirs: tuple[Heir, ...] = ()
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
        learnt = (*self._memory.heirs(), *self._memory.epochs())
        if len(keys) == 1 and keys[0] not in {heir.key for heir in learnt}:
            self._memory.pin(keys[0])
        self._policy = policy
        self._inherit()
        epochs = self._memory.epochs()
        self._origin = epochs[-1].key.name if epochs else origin

    def _inherit(self) -> None:
        """Believe those whom the log's key has handed over to, as far as is remembered."""
        self._heirs = self._memory.heirs()
        chain = [heir.key for heir in (*self._memory.epochs(), *self._heirs)]
        first = self._memory.log_key()
        if chain and first is not None:
            chain = list(dict.fromkeys([first, *chain]))
        new = [key for key in chain if key not in self._policy.logs]
        if new:
            self._policy = replace(self._policy, logs=[*self._policy.logs, *new])

    # --- entries of others, and of the log itself ------------------------------------

    def read_entry(
        self, index: int, leaf_hash: str | None = None, *, is_whole: bool = True
    ) -> Flow[VerifiedEntry]:
        """Fetch an entry with payload and receipt, and check all of it.

        Not ``is_whole``: without the payload, which may be hidden or gone.
        """
        told, receipt = yield from fetch_entry(index)
        note = split_checkpoint(receipt)
        yield from self.follow(note)
        if not self._is_known(note) or self.is_left(note):
            # Signed before the key that we began with: a newer checkpoint covers it as well.
            newest = yield from self.refresh()
            receipt = yield from fetch_receipt(index, newest.size)
            note = split_checkpoint(receipt)
        entry, trusted = open_entry(
            told, receipt, index, self._origin, self._policy, leaf_hash, is_whole=is_whole
        )
        yield from self.accept(trusted, note)
        return entry

    def follow(self, note: bytes) -> Flow[None]:
        """Learn the log's newer keys, if ``note`` is signed by none that is known.

        Whatever does not prove itself is passed by: the note is not believed then.
        """
        self._check_epoch(note)
        if self._is_known(note):
            return
        self._inherit()  # Another process may have followed already.
        root = self._memory.log_key()
        if root is None or self._is_known(note):
            return
        found = yield from self._find_heirs(Heir(0, root))
        if found and self._memory.replace_heirs(self._heirs, (*self._heirs, *found)):
            log.info("%s has handed over to %s", self._origin, format_vkey(found[-1].key))
        self._inherit()

    def _check_epoch(self, note: bytes) -> None:
        """Raise :class:`NewEpochError` for a note of an epoch that nobody accepted here."""
        origin = origin_of(note)
        if origin == self._origin or not ids.is_origin_up_to(self._origin, origin):
            return
        epochs = self._memory.epochs()
        if epochs and epochs[-1].key.name == origin:
            self.enter(origin)  # Another process accepted it meanwhile.
            return
        raise NewEpochError(
            f"{self._origin} lost part of its history and went on as {origin}; see what is lost, "
            f"and who agreed, with read_epoch({origin!r}), and go on with accept_epoch({origin!r})",
            origin=origin,
        )

    def keys(self) -> list[LogKey]:
        """Return every key of the log that is believed, of earlier epochs as well."""
        first = self._memory.first_key()
        known = [*self._policy.logs, *([] if first is None else [first])]
        known += [epoch.key for epoch in self._memory.epochs()]
        return list(dict.fromkeys(known))

    def enter(self, origin: str) -> None:
        """Go on under the origin of an epoch that memory holds as accepted."""
        self._inherit()
        self._accepted = set()
        self._origin = origin

    def is_left(self, note: bytes) -> bool:
        """Say whether a note is of an earlier epoch than the newest one accepted."""
        origin = origin_of(note)
        return origin != self._origin and ids.is_origin_up_to(origin, self._origin)

    def _find_heirs(self, root: Heir) -> Flow[list[Heir]]:
        """Read the entries by which one key handed over to the next; check them, and the chain."""
        last = self._heirs[-1] if self._heirs else root
        answer = yield from ask(Ask("GET", ""))
        check_understood(answer)
        found: list[Heir] = []
        entries: list[tuple[int, EntryAnswer, bytes]] = []
        for since in _read_key_history(answer, last):
            told, receipt = yield from fetch_entry(since)
            last = Heir(since, read_heir(told, self._origin, last.key))
            found.append(last)
            entries.append((since, told, receipt))
        policy = replace(self._policy, logs=[*self._policy.logs, *(heir.key for heir in found)])
        for since, told, receipt in entries:
            open_entry(told, receipt, since, self._origin, policy, None)
        return found

    def _is_known(self, note: bytes) -> bool:
        """Say whether a key that we believe is among those that seem to have signed."""
        keys = {(key.name, key.key_id) for key in self._policy.logs}
        try:
            return any((line.name, line.key_id) in keys for line in parse_note(note).signatures)
        except MalformedError:
            return True  # What is no note fails when it is verified.

    def last_checkpoint(self) -> Checkpoint | None:
        """Return the last checkpoint verified, in this run or an earlier one."""
        note = self._memory.checkpoint()
        return None if note is None else self._reopen(note)

    def _reopen(self, note: bytes) -> Checkpoint:
        known = self._reopened
        if known is not None and known[0] == note:
            return known[1]
        try:
            if not self._is_known(note):
                self._inherit()  # Another process followed, and remembered this.
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
        yield from self.follow(answer.content)
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
        self._check_reign(trusted)
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

    def _check_reign(self, trusted: Trusted) -> None:
        """Raise if a key of the log signed what it had handed over the signing of before."""
        reigns = {heir.key: heir.since for heir in self._heirs}
        since = reigns.get(trusted.log, 0)
        ended = next((heir.since for heir in self._heirs if heir.since > since), None)
        if ended is not None and trusted.checkpoint.size > ended:
            raise DistrustError(
                f"{self._origin}: a key that handed over by entry {ended} signed "
                f"size {trusted.checkpoint.size}"
            )

    def _check_consistent(
        self, old: Checkpoint, new: Checkpoint, old_note: bytes, new_note: bytes
    ) -> Flow[None]:
        if old == new:
            return
        first, second = sorted((old, new), key=lambda checkpoint: checkpoint.size)
        said: list[str] = []
        try:
            yield from ask_consistency(first, second, said)
        except ProofError as error:
            path = self._keep_evidence(str(error), old_note, new_note, "".join(said))
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


def ask_consistency(
    first: Checkpoint, second: Checkpoint, said: list[str] | None = None
) -> Flow[None]:
    """Have the ledger prove that a checkpoint continues a smaller one; raise :class:`ProofError`.

    What it said is added to ``said``.
    """
    if first.size == second.size:
        if first.root != second.root:
            raise ProofError(f"two roots for one size, {first.size}")
        return
    answer = yield from ask(Ask("GET", f"/proofs/consistency?from={first.size}&to={second.size}"))
    if said is not None:
        said.append(answer.content.decode("utf-8", "backslashreplace"))
    hashes = _read_proof(answer)
    tree.check_consistency(first.size, second.size, first.root, second.root, hashes)


def read_origins(answer: Answer) -> list[tuple[int, str]]:
    """Return the origins that a ledger says it has had, each with its first entry's index."""
    try:
        told = msgspec.json.decode(answer.content, type=_KeyHistory)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoAnswerError(f"not a ledger's description: {error}") from None
    return sorted((each.since, each.origin) for each in told.origins)


def _read_key_history(answer: Answer, last: Heir) -> list[int]:
    """Return the indexes of the entries that are said to have named the keys after ``last``."""
    try:
        told = msgspec.json.decode(answer.content, type=_KeyHistory)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoAnswerError(f"not a ledger's description: {error}") from None
    known = format_vkey(last.key)
    start = max([last.since, *(each.since for each in told.log_keys if each.log_key == known)])
    # A key of another epoch was not handed over to: whether it is believed is the user's to say.
    own = [each for each in told.log_keys if each.log_key.partition("+")[0] == last.key.name]
    return sorted({each.since for each in own if each.since > start})


def origin_of(note: bytes) -> str:
    """Return what a note begins with: of a checkpoint, its origin; nothing is verified."""
    return note.partition(b"\n")[0].decode("ascii", "replace")


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
