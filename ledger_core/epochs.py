"""Epochs: how a ledger goes on after an older database was put under a newer signer's memory.

::

    state   what the database has, what was signed: the statement to be agreed to
    open    statement and signatures -> epoch/1, the first entry of the new origin

Both work while the service stands still. What a crash of :func:`open_epoch` leaves behind: before
the commit nothing but a memory that knows as much as the statement; after it an epoch that is
open, under which nothing was signed yet. Opening it again finds it and goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from ledger_core import ids
from ledger_core.admission import admit
from ledger_core.clock import Clock
from ledger_core.constitutions import ConstitutionReader, read_epochs
from ledger_core.errors import (
    ForkError,
    IntegrityError,
    LedgerGridError,
    NotFoundError,
    SignatureError,
    StandingError,
)
from ledger_core.fail_points import reach
from ledger_core.formats.checkpoint import (
    Checkpoint,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from ledger_core.formats.note import parse_note
from ledger_core.formats.submission import seal_json
from ledger_core.formats.vkey import format_vkey
from ledger_core.keyring import Keyring
from ledger_core.keystore.model import NoKeys
from ledger_core.payloads import Payloads
from ledger_core.policy import epochs
from ledger_core.policy.constitution import Constitution
from ledger_core.prover import Prover
from ledger_core.records.types.epoch import (
    EPOCH_1,
    Agreement,
    Epoch,
    Extent,
    Known,
    Statement,
    check_statement,
    fork_of,
    format_statement,
    parse_statement,
    sort_agreements,
)
from ledger_core.sequencer import Sequencer
from ledger_core.signing import CheckpointSigner, LogKeys, check_continues, check_left
from ledger_core.storage import catalogue, store, trees
from ledger_core.storage.catalogue import LedgerRow
from ledger_core.storage.database import Database
from ledger_core.storage.signer_memory import Signed, SignerMemory
from ledger_core.storage.store import Head
from ledger_core.storage.views import Views

_GENERATIONS = 64
"""So many keys of an origin are tried on a checkpoint that somebody kept."""


@dataclass(frozen=True)
class Standstill:
    """A service that does not run: what it would work with."""

    database: Database
    memory: SignerMemory
    keyring: Keyring
    clock: Clock


@dataclass(frozen=True)
class _Found:
    """A ledger as the database has it."""

    row: LedgerRow
    head: Head
    constitution: Constitution
    reader: ConstitutionReader


def state_epoch(
    service: Standstill, name: str, reason: str, kept: Sequence[bytes] = ()
) -> Statement:
    """Say what is lost, and under which origin to go on: to be signed by a quorum.

    ``kept``: signed checkpoints that others have, in case the memory went back as well.
    """
    found = _find(service, name)
    known = _known(service, found, kept)
    if not known:
        raise StandingError(
            f"{name}: the database continues all that was signed: there is nothing to agree to"
        )
    new_origin = _next_origin(service, found.row, known)
    statement = Statement(
        old_origin=found.row.origin,
        new_origin=new_origin,
        log_key=format_vkey(service.keyring.log_signer(new_origin).public),
        fork=Extent(found.head.size, ids.format_digest(found.head.root)),
        known=tuple(known),
        reason=reason,
    )
    epochs.check_fits(found.constitution, statement, found.head.size)
    return parse_statement(format_statement(statement))


def open_epoch(
    service: Standstill, name: str, statement: Statement, agreements: Iterable[Agreement]
) -> int:
    """Open the epoch that was agreed to; return the index of its entry."""
    found = _find(service, name)
    signer = _signer(service, found)
    if found.row.origin == statement.new_origin:
        _check_opened(service, found, statement)
        signer.sign(found.head.size, found.head.root)
        return found.constitution.origins[-1][0]
    _check_still_so(service, found, statement)
    fork = sign_checkpoint(fork_of(statement), signer.keys.at(found.head.size))
    epoch = Epoch(statement, fork.decode(), sort_agreements(agreements))
    operator = service.keyring.operator(found.row.origins[0])
    body = msgspec.json.encode(epoch)
    sealed = seal_json(statement.new_origin, EPOCH_1.name, body, operator, service.clock())
    admitted = admit(sealed, statement.new_origin)
    # Before the memory learns what the statement knows: that is the word of those who agreed.
    author = admitted.signed.record.author
    epochs.check_epoch(found.constitution, epoch, author, found.head.size)
    row = replace(found.row, origin=statement.new_origin, earlier=found.row.origins)
    # Nothing of the lost entries is to be found when the service runs again.
    views = Views(service.database)
    views.ensure()
    views.rebuild()
    _remember_known(service, statement)
    signer = _signer(service, replace(found, row=row))
    prover = Prover(row.ledger_id, signer)
    payloads = Payloads(NoKeys())
    sequencer = Sequencer(service.database, row, signer, prover, operator, service.clock, payloads)
    commit = sequencer.commit([admitted])
    reach("epoch.after-commit")
    [outcome] = sequencer.acknowledge(commit, [0])
    reach("epoch.after-memory")
    if isinstance(outcome, LedgerGridError):
        raise outcome
    return outcome.index


def _find(service: Standstill, name: str) -> _Found:
    """Read a ledger, and check that its tree is what its head says."""
    with service.database.read() as tx:
        row = catalogue.find_ledger(tx, name)
        if row is None:
            raise NotFoundError(f"no ledger named {name[:80]!r}")
        reader = ConstitutionReader(row.ledger_id)
        constitution, head = reader.read(tx), store.read_head(tx, row.ledger_id)
        edge = trees.read_tile_edge(tx, row.ledger_id, head.size)
    if edge.frontier().root() != head.root:
        raise IntegrityError(f"{name}: the tree at size {head.size} has another root than its head")
    if constitution.origin != row.origin:
        raise IntegrityError(f"{name}: its epochs are not those its entries opened")
    return _Found(row, head, constitution, reader)


def _signer(service: Standstill, found: _Found) -> CheckpointSigner:
    def read() -> tuple[tuple[int, str], ...]:
        with service.database.read() as tx:
            return found.reader.read(tx).log_keys

    keys = LogKeys(service.keyring, read)
    return CheckpointSigner(service.database, service.memory, found.row, keys)


# --- what is lost ------------------------------------------------------------------


def _known(service: Standstill, found: _Found, kept: Sequence[bytes]) -> list[Known]:
    """Return the newest checkpoints of this ledger that the database does not continue."""
    newest = {
        origin: signed
        for origin, signed in service.memory.recall_all().items()
        if _is_of(service, found.row, origin)
    }
    for note in kept:
        checkpoint = _verify_kept(service, found, note)
        known = newest.get(checkpoint.origin)
        if known is None or known.size < checkpoint.size:
            newest[checkpoint.origin] = Signed(checkpoint.size, checkpoint.root)
        elif known.size == checkpoint.size and known.root != checkpoint.root:
            raise ForkError(f"{checkpoint.origin}: size {known.size} was signed with two roots")
    return [
        Known(origin, signed.size, ids.format_digest(signed.root))
        for origin, signed in sorted(newest.items())
        if not _is_continued(service, found, origin, signed)
    ]


def _is_of(service: Standstill, row: LedgerRow, origin: str) -> bool:
    """Say whether an origin is one of this ledger's, perhaps of an epoch that was lost as well."""
    if not ids.are_of_one_ledger(origin, row.origins[0]):
        return False
    with service.database.read() as tx:
        other = catalogue.find_origin(tx, origin)
    return other is None or other.ledger_id == row.ledger_id


def _is_continued(service: Standstill, found: _Found, origin: str, signed: Signed) -> bool:
    """Say whether the database has what was signed, or an epoch left it behind already.

    Raises :class:`ForkError` where it has another history up to there.
    """
    row, head = found.row, found.head
    try:
        if origin == row.origin:
            check_continues(service.database, row, head, signed)
        else:
            check_left(service.database, row, origin, signed)
    except ForkError as error:
        if origin in row.origins and signed.size <= head.size:
            raise ForkError(
                f"{error}. An epoch goes on from an older state of the log, and this is none: "
                "restore a backup from before the two parted",
                index=signed.size - 1,
            ) from error
        return False
    return True


def _verify_kept(service: Standstill, found: _Found, note: bytes) -> Checkpoint:
    """Verify a checkpoint that somebody kept: one of this log, in whichever epoch."""
    origin = parse_checkpoint(parse_note(note).text).origin
    if not _is_of(service, found.row, origin):
        raise SignatureError(f"a checkpoint of {origin} is not one of {found.row.origin}")
    for generation in range(_GENERATIONS):
        try:
            return verify_checkpoint(note, service.keyring.log_signer(origin, generation).public)
        except SignatureError:
            continue
    raise SignatureError(f"this service did not sign that checkpoint of {origin}")


def _next_origin(service: Standstill, row: LedgerRow, known: Sequence[Known]) -> str:
    """Return the origin of an epoch that nobody has heard of."""
    founded = ids.parse_epoch(row.origins[0])[0]
    taken = [*row.origins, *(each.origin for each in known), *service.memory.recall_all()]
    number = 1 + max(
        ids.parse_epoch(each)[1] for each in taken if ids.are_of_one_ledger(each, founded)
    )
    with service.database.read() as tx:
        while catalogue.find_origin(tx, ids.format_epoch(founded, number)) is not None:
            number += 1
    return ids.format_epoch(founded, number)


# --- opening -----------------------------------------------------------------------


def _check_still_so(service: Standstill, found: _Found, statement: Statement) -> None:
    """Raise unless the statement says what database and memory say now."""
    check_statement(statement)
    epochs.check_fits(found.constitution, statement, found.head.size)
    if statement.fork != Extent(found.head.size, ids.format_digest(found.head.root)):
        raise StandingError("the database is not the one that the statement speaks of")
    said = {known.origin: known for known in statement.known}
    for known in _known(service, found, ()):
        if known != said.get(known.origin) and known.size >= _size_of(said, known.origin):
            raise StandingError(
                f"{known.origin}: size {known.size} was signed, and the statement does not say so"
            )
    with service.database.read() as tx:
        taken = catalogue.find_origin(tx, statement.new_origin)
    if taken is not None or service.memory.recall(statement.new_origin) is not None:
        raise StandingError(f"{statement.new_origin} was opened before: state the epoch anew")
    own = service.keyring.log_signer(statement.new_origin).public
    if format_vkey(own) != statement.log_key:
        raise StandingError("the new log key is not one of this service's")


def _size_of(said: dict[str, Known], origin: str) -> int:
    return said[origin].size if origin in said else 0


def _remember_known(service: Standstill, statement: Statement) -> None:
    """Let the memory know as much as the statement, where others knew more than it did."""
    for known in statement.known:
        newest, new = (
            service.memory.recall(known.origin),
            Signed(known.size, ids.parse_digest(known.root)),
        )
        if newest is None or newest.size < new.size:
            service.memory.advance(known.origin, newest, new)


def _check_opened(service: Standstill, found: _Found, statement: Statement) -> None:
    with service.database.read() as tx:
        opened = read_epochs(tx, found.row.ledger_id)
    if opened[-1] != statement:
        raise StandingError(f"{statement.new_origin} was opened with another statement")
