"""Placing: one record after the other becomes the next entry of a batch, or is refused.

Nothing is written here. What the batch changes lies in :class:`Batch` until the sequencer stores
it (sequencer.py), all in the transaction in which it was judged.
"""

from __future__ import annotations

from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec

from ledger_core import ids
from ledger_core.admission import Admitted
from ledger_core.errors import (
    ConflictError,
    DanglingReferenceError,
    HeadMovedError,
    IntegrityError,
    LedgerGridError,
    StandingError,
    StoppedError,
)
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.entry import Entry, Header, format_entry, parse_entry
from ledger_core.formats.submission import seal_json
from ledger_core.merkle.tree import leaf_hash
from ledger_core.payloads import Sealer
from ledger_core.policy.act import Act
from ledger_core.policy.allowances import Allowances
from ledger_core.policy.assembly import Assembly, Due, due_type, is_speech
from ledger_core.policy.changes import seal_refusal
from ledger_core.policy.proposals import Proposal
from ledger_core.policy.streams import Counters
from ledger_core.policy.visibility import check_parties
from ledger_core.records.types.epoch import EPOCH_1, Statement
from ledger_core.records.types.refusal import REFUSAL_1, Refusal
from ledger_core.storage import trees
from ledger_core.storage.database import Transaction
from ledger_core.storage.store import Head, NewEntry
from ledger_core.viewing import Seen, see_appended


class Placed(msgspec.Struct, frozen=True):
    """Where a record lies; ``header`` is its bytes, the leaf without the record.

    ``size`` is that of the first checkpoint that covers it, None for this batch's own. ``used``:
    what was used, before, of each budget that it draws from.
    """

    index: int
    received_at: int
    header: bytes
    leaf_hash: bytes
    record_id: str
    size: int | None
    is_new: bool
    used: tuple[int, ...] = ()


class Taken(msgspec.Struct, frozen=True):
    """A record id that has its place already."""

    index: int
    leaf: bytes
    leaf_hash: bytes


class Registrar:
    """Seals what the service itself says in a batch: of changes refused, and what is due."""

    def __init__(self, origin: str, operator: PrivateKey) -> None:
        self.origin = origin
        self.key = ids.format_key(operator.public_key)
        self._operator = operator

    def seal_refusal(self, each: Admitted, code: str = "") -> Admitted | None:
        """Return the record that a change was refused; its id follows from the change's bytes."""
        if not each.named:
            return None
        record = each.signed.record
        refusal = Refusal(
            ids.format_digest(sha256(each.signed.raw).digest()), record.type, record.author, code
        )
        sealed = seal_refusal(self.origin, refusal, record.made_at, self._operator)
        record_id = ids.parse_record_id(sealed.signed.record.id)
        body = {"body": refusal}
        return Admitted(sealed.signed, record_id, REFUSAL_1, sealed.parts, body, ())

    def seal_due(self, due: Due, made_at: int) -> Admitted:
        """Seal a record of the service's own; nothing of it needs to be checked again."""
        kind = due_type(due)
        sealed = seal_json(
            self.origin, kind.name, msgspec.json.encode(due), self._operator, made_at
        )
        record_id = ids.parse_record_id(sealed.signed.record.id)
        return Admitted(sealed.signed, record_id, kind, sealed.parts, {"body": due}, ())


@dataclass
class Batch:
    """A batch on its way: entries given places so far and what they change."""

    ledger_id: int
    head: Head
    received_at: int
    taken: dict[bytes, Taken]
    known_refs: dict[bytes, int]
    known_proposals: dict[bytes, Proposal]
    counters: Counters
    assembly: Assembly
    named: Set[bytes]
    """Entries that changes in this batch name, by leaf hash."""
    sealer: Sealer
    registrar: Registrar
    allowances: Allowances
    entries: list[NewEntry] = field(default_factory=list)
    appended: list[Seen] = field(default_factory=list)
    """The same entries, as the views look at them."""

    def place(self, tx: Transaction, each: Admitted) -> Placed | LedgerGridError:
        try:
            taken = self.taken.get(each.record_id)
            if taken is None:
                return self._append(each)
            return self._repeat(tx, each, taken)
        except IntegrityError:
            raise
        except LedgerGridError as error:
            self._note_refusal(each, error)
            return error

    def _note_refusal(self, each: Admitted, error: LedgerGridError) -> None:
        """Record that a change was refused to one who stands, once however often it is tried."""
        index, constitution = self.head.size + len(self.entries), self.assembly.constitution
        is_refusal = isinstance(error, StandingError) and not isinstance(error, HeadMovedError)
        if not is_refusal or not constitution.stands_at(each.signed.record.author, index):
            return
        refusal = self.registrar.seal_refusal(each, error.code)
        if refusal is not None and refusal.record_id not in self.taken:
            with suppress(StandingError):  # Of a service that is no operator here: it has no word.
                self._append_one(refusal)

    def _repeat(self, tx: Transaction, each: Admitted, taken: Taken) -> Placed:
        """Same id, same bytes: the same place again. Same id, other bytes: a conflict."""
        if leaf_hash(taken.leaf) != taken.leaf_hash:
            raise IntegrityError(f"entry {taken.index} lost its leaf hash", index=taken.index)
        stored = parse_entry(taken.leaf)
        record_id = each.signed.record.id
        if stored.record != each.signed.raw:
            raise ConflictError(
                f"id {record_id} is taken by entry {taken.index} with other bytes",
                stored=ids.format_digest(sha256(stored.record).digest()),
                received=ids.format_digest(sha256(each.signed.raw).digest()),
            )
        size = None
        if taken.index < self.head.size:
            size = trees.find_covering_size(tx, self.ledger_id, taken.index)
        return _placed(each, taken, stored.header.received_at, size, is_new=False)

    def _append(self, each: Admitted) -> Placed:
        """Give a record its place, and behind it whatever of the service's own is due then."""
        missing = [r for r in (*each.refs, *each.named) if r not in self.known_refs]
        if missing:
            raise DanglingReferenceError(f"no entry with leaf hash {ids.format_digest(missing[0])}")
        if each.may_be_stopped:
            self._check_not_stopped()
        is_drawing = bool(each.draws or each.rates)
        placed = self._append_drawing(each) if is_drawing else self._append_one(each)
        while self.assembly.due:
            due = self.assembly.due[0]
            try:
                self._append_one(self.registrar.seal_due(due, self.received_at))
            except LedgerGridError as error:
                # Half of what belongs together is worse than nothing: the batch is given up.
                raise RuntimeError(f"{due} is due and was refused") from error
        return placed

    def _check_not_stopped(self) -> None:
        capture = self.assembly.constitution.capture
        if capture.stopped_since is not None:
            told = f": {capture.reason}" if capture.reason else ""
            raise StoppedError(f"entry {capture.stopped_since} stopped all calls{told}")

    def _append_drawing(self, each: Admitted) -> Placed:
        """Take from allowances what a record draws: if it may, and once it has its place."""
        used = self.allowances.check(each.draws, each.rates)
        placed = self._append_one(each, used)
        self.allowances.take(each.draws, each.rates)
        return placed

    def _append_one(self, each: Admitted, used: tuple[int, ...] = ()) -> Placed:
        index = self.head.size + len(self.entries)
        previous = self.entries[-1].leaf_hash if self.entries else self.head.last_leaf
        header = Header(
            self.registrar.origin, index, previous, self.received_at, each.signed.signature
        )
        leaf = format_entry(Entry(header, each.signed.raw))
        hashed = leaf_hash(leaf)
        author = each.signed.record.author
        repeats = self.counters.find(each.counter)
        act = Act(
            index,
            hashed,
            self.received_at,
            each.kind,
            author,
            each.payload,
            each.amends,
            repeats,
            tuple(each.signed.record.payload),
        )
        if each.kind is EPOCH_1:
            _check_fork(self, each.payload["body"].statement)
        policy = self.assembly.check(act)
        check_parties(self.assembly.constitution, each.signed.record.parties, index)
        if policy is not None or is_speech(each.kind) or repeats is not None:
            self._check_can_conclude(index)
        parts = self.sealer.seal(each)
        self.assembly.take(act, policy)
        self.counters.give(each.counter, hashed)
        if hashed in self.named:
            self.assembly.alterations.learn(act)
        self.entries.append(NewEntry(index, previous, hashed, each.record_id, leaf, parts))
        self.appended.append(see_appended(each, index, hashed, self.received_at))
        taken = self.taken[each.record_id] = Taken(index, leaf, hashed)
        self.known_refs[hashed] = index
        return _placed(each, taken, self.received_at, None, used, is_new=True)

    def _check_can_conclude(self, index: int) -> None:
        """Raise unless the service may write what this record may make due."""
        constitution = self.assembly.constitution
        key = constitution.keys.get(self.registrar.key)
        stands = constitution.stands_at(self.registrar.key, index)
        if key is None or not stands or "operator" not in key.roles:
            raise StandingError("this service's key is no operator here: it can conclude nothing")


def _check_fork(batch: Batch, statement: Statement) -> None:
    """Raise unless an epoch begins on just this tree; it is the only entry of its batch."""
    if batch.entries or ids.parse_digest(statement.fork.root) != batch.head.root:
        raise StandingError("the tree at the fork has another root than the statement says")


def _placed(
    each: Admitted,
    taken: Taken,
    received_at: int,
    size: int | None,
    used: tuple[int, ...] = (),
    *,
    is_new: bool,
) -> Placed:
    header = taken.leaf[: -len(each.signed.raw)]
    record_id = each.signed.record.id
    return Placed(taken.index, received_at, header, taken.leaf_hash, record_id, size, is_new, used)
