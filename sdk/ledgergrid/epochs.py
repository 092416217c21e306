"""Epochs: a log that lost history goes on under a new origin; a client follows when told to.

What is checked before anyone is asked, numbered as in :func:`_open_epoch`:

1. the entry is in the new log, signed by the key that its statement names; all signatures over the
   statement verify;
2. a key that we believe signed the fork, and the new log continues it;
3. the fork continues the last checkpoint we verified; or that one is lost, and the statement says
   that as much was known.

Whether those who signed are the quorum it takes is counted by the verifier, from an archive.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from ledger_core import ids
from ledger_core.errors import LedgerGridError, NotFoundError, ProofError
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.trust_policy import NO_QUORUM, TrustPolicy, verify_trusted
from ledger_core.formats.vkey import LogKey, parse_vkey
from ledger_core.records.types.epoch import Epoch, Known, Statement, fork_of
from ledgergrid.entries import EntryAnswer, fetch_entry, open_entry
from ledgergrid.errors import DistrustError, ForgedEntryError, ForkedLedgerError
from ledgergrid.memory import Heir, Memory
from ledgergrid.trust import Trust, ask_consistency, read_origins
from ledgergrid.wire import Ask, Flow, ask, check_understood


@dataclass(frozen=True)
class NewEpoch:
    """An epoch of the ledger, verified: what is lost, why, and the keys that agreed."""

    index: int
    old_origin: str
    new_origin: str
    reason: str
    kept: int
    """Entries below this index are as they were."""
    lost: tuple[Known, ...]
    """The newest checkpoints known: what they cover from ``kept`` on is gone."""
    signed_by: tuple[str, ...]
    log_key: LogKey = field(repr=False)


def read_epochs(trust: Trust, origin: str) -> Flow[list[NewEpoch]]:
    """Read and check each epoch between the one we follow and ``origin``, oldest first."""
    answer = yield from ask(Ask("GET", ""))
    check_understood(answer)
    told = [each for each in read_origins(answer) if _is_between(each[1], trust.origin, origin)]
    if not told or told[-1][1] != origin:
        raise NotFoundError(f"the ledger has no epoch {origin} after {trust.origin}")
    found: list[NewEpoch] = []
    at, last = trust.origin, trust.last_checkpoint()
    for index, name in told:
        keys = [each.log_key for each in found]
        epoch, tip = yield from _open_epoch(trust, index, name, keys, last, at)
        found.append(epoch)
        at, last = name, tip
    return found


def _is_between(origin: str, ours: str, newest: str) -> bool:
    number = ids.parse_epoch(origin)[1]
    return ids.is_origin_up_to(origin, newest) and number > ids.parse_epoch(ours)[1]


def accept_epochs(trust: Trust, memory: Memory, origin: str) -> Flow[list[NewEpoch]]:
    """Follow the log into ``origin``; what was remembered of the epochs before stays beside it."""
    found = yield from read_epochs(trust, origin)
    for epoch in found:
        before = memory.epochs()
        if epoch.new_origin not in {each.key.name for each in before}:
            memory.add_epoch(before, Heir(epoch.index, epoch.log_key))
    trust.enter(origin)
    yield from trust.refresh()
    return found


def _open_epoch(
    trust: Trust,
    index: int,
    origin: str,
    keys: list[LogKey],
    last: Checkpoint | None,
    ours: str,
) -> Flow[tuple[NewEpoch, Checkpoint]]:
    told, receipt = yield from fetch_entry(index)
    epoch = _read_body(told)
    statement = epoch.statement
    key = parse_vkey(statement.log_key)
    if not isinstance(key, LogKey) or statement.new_origin != origin:
        raise ForgedEntryError(f"entry {index} does not open {origin}")
    new = TrustPolicy(logs=[key], quorum=NO_QUORUM)
    entry, trusted = open_entry(told, receipt, index, origin, new, None)  # 1
    if entry.payload["body"] != epoch or statement.fork.size != index:
        raise ForgedEntryError(f"entry {index} does not open {origin}")
    note = epoch.fork_checkpoint.encode()
    if statement.old_origin == trust.origin:
        yield from trust.follow(note)
    believed = TrustPolicy(logs=[*trust.keys(), *keys], quorum=NO_QUORUM)
    try:
        signed = verify_trusted(note, believed)  # 2
    except LedgerGridError as error:
        raise DistrustError(f"no key believed here signed the fork of {origin}: {error}") from None
    if signed.checkpoint != fork_of(statement):
        raise ForgedEntryError(f"entry {index} does not begin on the fork that was signed")
    tip = trusted.checkpoint
    yield from _check_continued(fork_of(statement), tip)
    if last is not None:  # 3
        yield from _check_last(statement, last, ours)
    made = NewEpoch(
        index=index,
        old_origin=statement.old_origin,
        new_origin=origin,
        reason=statement.reason,
        kept=statement.fork.size,
        lost=statement.known,
        signed_by=tuple(each.key for each in epoch.signatures),
        log_key=key,
    )
    return made, tip


def _read_body(told: EntryAnswer) -> Epoch:
    """Read the payload, to learn the key that signs it; :func:`open_entry` checks it then."""
    body = told.parts.get("body")
    if body is None or body.data is None:
        raise ForgedEntryError("the epoch's payload is not shown")
    try:
        return msgspec.json.decode(ids.decode_base64(body.data), type=Epoch)
    except (msgspec.DecodeError, UnicodeDecodeError, LedgerGridError) as error:
        raise ForgedEntryError(f"not an epoch: {error}") from None


def _check_continued(first: Checkpoint, second: Checkpoint) -> Flow[None]:
    try:
        yield from ask_consistency(first, second)
    except ProofError as error:
        raise ForkedLedgerError(f"size {first.size} is not continued: {error}") from error


def _check_last(statement: Statement, last: Checkpoint, ours: str) -> Flow[None]:
    """Raise unless what we verified last was kept, or is lost and was known to those who agreed."""
    if last.origin == statement.old_origin and last.size <= statement.fork.size:
        yield from _check_continued(last, fork_of(statement))
        return
    known = {each.origin: each for each in statement.known}.get(ours)
    if known is None or known.size < last.size:
        size = 0 if known is None else known.size
        raise ForkedLedgerError(
            f"size {last.size} of {ours} was verified here, and those who agreed to the epoch knew "
            f"of size {size} only: more is lost than they said"
        )
    if known.size == last.size and ids.parse_digest(known.root) != last.root:
        raise ForkedLedgerError(f"size {last.size} of {ours} has another root in the statement")
