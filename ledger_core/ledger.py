"""START HERE. A ledger: append records, prove them, read them, export them.

::

    submission --admit--> admitted record --sequence--> entry, leaf, checkpoint --> receipt

Writing goes through ``admit`` (what can be said of a record alone) and ``sequence`` (what
needs the ledger, in one transaction). Everything else reads. The whole way of a record is
told in docs/life-of-a-record.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from ledger_core import ids
from ledger_core.admission import Admitted, admit
from ledger_core.clock import Clock
from ledger_core.constitutions import ConstitutionReader, check_ended
from ledger_core.errors import (
    ForbiddenError,
    IntegrityError,
    LedgerGridError,
    NotFoundError,
)
from ledger_core.exporter import Exporter
from ledger_core.follower import Follower
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import parse_record
from ledger_core.formats.submission import Submission, parse_submission, seal_json
from ledger_core.formats.vkey import LogKey
from ledger_core.merkle.tiles import TileId
from ledger_core.opening import check_leaf, open_entries
from ledger_core.payloads import Payloads
from ledger_core.policy.anchoring import seal_anchor
from ledger_core.policy.assembly import outcome_of
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect
from ledger_core.policy.epochs import origin_at
from ledger_core.policy.erasing import seal_done
from ledger_core.policy.proposals import Proposal, Ruling
from ledger_core.policy.visibility import OPERATOR, Reader
from ledger_core.prover import ConsistencyProof, InclusionProof, Prover
from ledger_core.records.model import JSON, decode_part
from ledger_core.records.types.anchor import Anchor
from ledger_core.records.types.charter import CHARTER_1, Charter, Kind
from ledger_core.records.types.erasure_done import ErasureDone
from ledger_core.records.types.log_key import LOG_KEY_1
from ledger_core.records.types.outcome import OUTCOME_1, Verdict
from ledger_core.sequencer import Appended, Outcome, Sequencer
from ledger_core.signing import CheckpointSigner, KeyHistory
from ledger_core.states import States
from ledger_core.storage import assemblies, closings, effects, store
from ledger_core.storage.closings import Closing
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.store import Gone, LedgerRow, SealedEntry, StoredEntry
from ledger_core.storage.views import EntryQuery, Page, Views
from ledger_core.witnessed import Status, Witnessed

_WITNESSES_S = 5.0
_LOOK_S = 0.05


class Ledger:
    """One ledger of a service, as this process sees it. Made by :class:`Ledgers`; thread-safe."""

    def __init__(
        self,
        row: LedgerRow,
        database: Database,
        views: Views,
        follower: Follower,
        signer: CheckpointSigner,
        operator: PrivateKey,
        clock: Clock,
        witnessed: Witnessed,
        constitution: ConstitutionReader,
        payloads: Payloads,
    ) -> None:
        self._row = row
        self._database = database
        self._views = views
        self._follower = follower
        self._signer = signer
        self._operator = operator
        self._clock = clock
        self._witnessed = witnessed
        self._prover = Prover(row.ledger_id, signer)
        self._payloads = payloads
        self._sequencer = Sequencer(database, row, signer, self._prover, operator, clock, payloads)
        self._constitution = constitution
        self.states = States(row.ledger_id, self._reading, constitution)

    @property
    def name(self) -> str:
        return self._row.name

    @property
    def ledger_id(self) -> int:
        """Its number in this database, which says nothing outside of it."""
        return self._row.ledger_id

    @property
    def origin(self) -> str:
        """What the log signs as: that of its newest epoch."""
        return self._row.origin

    @property
    def origins(self) -> tuple[str, ...]:
        """All origins the ledger has had, oldest first."""
        return self._row.origins

    def origin_at(self, index: int) -> str:
        """Return the origin that the entry at ``index`` has."""
        return origin_at(self.constitution().origins, index)

    @property
    def kind(self) -> Kind:
        return self._row.kind

    @property
    def charter(self) -> bytes:
        """The leaf hash of entry 0: the ledger's identity."""
        return self._row.charter

    @property
    def operator(self) -> str:
        """The service's own key in this ledger, as ``ed25519:…``."""
        return ids.format_key(self._operator.public_key)

    @property
    def log_key(self) -> LogKey:
        """The key that signs the newest checkpoint."""
        return self._signer.keys.at(self.size()).public

    def log_keys(self) -> KeyHistory:
        """Return all keys the log has had, each with the index of the entry that named it."""
        return self._signer.keys.history(self.size())

    # --- writing -----------------------------------------------------------------

    def admit(self, raw: bytes) -> Admitted:
        """Parse and check one submission as JSON; touches no storage."""
        return admit(parse_submission(raw), *self._row.origins)

    def sequence(
        self, admitted: Sequence[Admitted], on_commit: Callable[[], None] = lambda: None
    ) -> list[Outcome]:
        """Give admitted records their places in one transaction; one outcome each.

        ``on_commit`` is called when the next batch may begin.
        """
        outcomes = self._sequencer.sequence(admitted, on_commit)
        placed = [each.index for each in outcomes if isinstance(each, Appended)]
        if placed:
            self._follower.ring(self._row.ledger_id, max(placed) + 1)
        return outcomes

    def append(self, submissions: Sequence[Submission]) -> list[Outcome]:
        """Admit and sequence at once, without the pool. One refusal does not sink the rest."""
        tried: list[Admitted | LedgerGridError] = []
        for each in submissions:
            try:
                tried.append(admit(each, *self._row.origins))
            except LedgerGridError as error:
                tried.append(error)
        outcomes = iter(self.sequence([x for x in tried if isinstance(x, Admitted)]))
        return [next(outcomes) if isinstance(x, Admitted) else x for x in tried]

    def append_as_operator(self, type_name: str, body: bytes) -> Appended:
        """Append a record with one JSON part, signed by the service's own operator key."""
        sealed = seal_json(self.origin, type_name, body, self._operator, self._clock())
        outcome = self.append([sealed])[0]
        if isinstance(outcome, LedgerGridError):
            raise outcome
        return outcome

    def rotate_log_key(self) -> Appended:
        """Hand over to the log's next key: it signs from the checkpoint on that covers this.

        Raises :class:`StandingError` if another process hands over at the same time.
        """
        handover = self._signer.keys.hand_over(self.size())
        return self.append_as_operator(LOG_KEY_1.name, msgspec.json.encode(handover))

    def append_anchors(self, anchors: Sequence[tuple[Anchor, int]]) -> list[Outcome]:
        """Append anchors of other ledgers, each with the time it was due; each is one entry.

        Their bytes follow from what they say: whoever appends one again finds the first.
        """
        return self.append([seal_anchor(self.origin, *each, self._operator) for each in anchors])

    def record_erased(self, done: ErasureDone, ordered_at: int) -> Appended:
        """Append the one ``erasure.done/1`` of an order that took effect at ``ordered_at``.

        Raises :class:`ConflictError` if another process did, and found other exports.
        """
        at_ms = parse_entry(self.entry(ordered_at).leaf).header.received_at
        outcome = self.append([seal_done(self.origin, done, at_ms, self._operator)])[0]
        if isinstance(outcome, LedgerGridError):
            raise outcome
        return outcome

    @property
    def read_only(self) -> LedgerGridError | None:
        """Why this ledger takes no appends, if it does not."""
        return self._sequencer.read_only

    def check(self) -> None:
        """Raise :class:`ForkError`, and stay read-only, unless the signer's memory agrees."""
        try:
            self._signer.check()
        except IntegrityError as error:
            self._sequencer.degrade(error)
            raise

    def check_keys(self, newest: int) -> None:
        """Raise :class:`IntegrityError` unless the newest entries' payloads have their keys."""
        with self._database.read() as tx:
            size = store.read_head(tx, self._row.ledger_id).size
            self._payloads.check_keys(tx, self._row.ledger_id, max(0, size - newest), size)

    def check_charter(self) -> None:
        """Raise :class:`IntegrityError` unless this is the ledger that its charter founded."""
        entry = self.entry(0)
        if entry.leaf_hash != self.charter or "body" not in entry.parts:
            raise IntegrityError(f"{self.name}: entry 0 is not its charter", index=0)
        charter = self.charter_body()
        if (charter.origin, charter.kind) != (self.origins[0], self.kind):
            raise IntegrityError(f"{self.name}: its charter says otherwise", index=0)
        if tuple(origin for _, origin in self.constitution().origins) != self.origins:
            raise IntegrityError(f"{self.name}: its epochs are not those its entries opened")

    @contextmanager
    def _reading(self) -> Iterator[Transaction]:
        """Read in one transaction; found corruption ends the appends, not the reads."""
        try:
            with self._database.read() as tx:
                yield tx
        except IntegrityError as error:
            self._sequencer.degrade(error)
            raise

    # --- proving -----------------------------------------------------------------

    def size(self) -> int:
        """Return the number of entries."""
        with self._reading() as tx:
            return store.read_head(tx, self._row.ledger_id).size

    def checkpoint(self, *, witnessed: bool = False) -> bytes:
        """Return the newest checkpoint, signed, with whatever cosignatures it has by now.

        ``witnessed``: the newest one that has its quorum; :class:`NotFoundError` if none has.
        """
        with self._reading() as tx:
            head = store.read_head(tx, self._row.ledger_id)
            if witnessed:
                head = self._witnessed.newest_head(tx, self._row.ledger_id, head)
            return self._prover.checkpoint(tx, head) + self._lines(tx, head.size)

    def own_checkpoint(self) -> tuple[int, bytes]:
        """Return the newest checkpoint's size and note, with the log's own signature alone."""
        with self._reading() as tx:
            head = store.read_head(tx, self._row.ledger_id)
            return head.size, self._prover.checkpoint(tx, head)

    def receipt(self, index: int, size: int | None = None) -> bytes:
        """Return an entry's receipt at ``size``, with the cosignatures which that has.

        Without a size: at the first witnessed checkpoint that covers the entry; where there is
        none yet, at the first that covers it, as the author got it.
        """
        with self._reading() as tx:
            if size is None:
                size = self._witnessed.find(tx, self._row.ledger_id, index + 1)
            if size is None:
                size = store.find_covering_size(tx, self._row.ledger_id, index)
            # A receipt ends in the checkpoint's signature lines.
            return self._prover.receipt(tx, index, size) + self._lines(tx, size)

    def witness_status(self) -> Status:
        """Say how far the witnesses are with this ledger."""
        with self._reading() as tx:
            return self._witnessed.status(tx, self._row.ledger_id)

    def _lines(self, tx: Transaction, size: int) -> bytes:
        return self._witnessed.lines(tx, self._row.ledger_id, size)

    def prove_inclusion(self, index: int, size: int) -> InclusionProof:
        with self._reading() as tx:
            return self._prover.prove_inclusion(tx, index, size)

    def prove_consistency(self, from_size: int, to_size: int) -> ConsistencyProof:
        with self._reading() as tx:
            return self._prover.prove_consistency(tx, from_size, to_size)

    def tile(self, level: int, position: int, width: int) -> bytes:
        """Return a tile's hashes (C2SP tlog-tiles); :class:`NotFoundError` if not there yet."""
        with self._reading() as tx:
            return self._prover.tile(tx, TileId(level, position, width))

    def bundle(self, position: int, width: int) -> bytes:
        """Return an entry bundle (C2SP tlog-tiles); :class:`NotFoundError` if not there yet."""
        with self._reading() as tx:
            return self._prover.bundle(tx, position, width)

    # --- reading -----------------------------------------------------------------

    def entry(self, index: int) -> StoredEntry:
        with self._reading() as tx:
            return self._open(tx, [store.read_entry(tx, self._row.ledger_id, index)])[0]

    def entries(
        self, indexes: Sequence[int] | range, *, with_payload: bool = True
    ) -> list[StoredEntry]:
        """Return those of the named entries that exist, in order of index."""
        with self._reading() as tx:
            found = store.read_entries(tx, self._row.ledger_id, indexes, with_payload=with_payload)
            return self._open(tx, found, with_payload=with_payload)

    def _open(
        self, tx: Transaction, found: Sequence[SealedEntry], *, with_payload: bool = True
    ) -> list[StoredEntry]:
        if not with_payload:
            return [check_leaf(entry) for entry in found]
        entries = open_entries(tx, self._row.ledger_id, found, self._payloads, self._constitution)
        self._check_there(entries)
        return entries

    def _check_there(self, entries: Iterable[StoredEntry]) -> None:
        """Take no appends from now on if a part's row is gone that nobody ordered to be erased.

        The entry is shown all the same. A row whose key is gone is another matter: a key store
        that lost keys is an accident, and no sign that ground truth was tampered with.
        """
        for entry in entries:
            for name, gone in entry.gone.items():
                if gone is Gone.ROW:
                    message = f"entry {entry.index}: part {name} is missing, erased by no order"
                    self._sequencer.degrade(IntegrityError(message, index=entry.index))

    def index_of(self, record_id: str) -> int:
        """Return where the record with this id lies."""
        wanted = ids.parse_record_id(record_id)
        with self._reading() as tx:
            found = store.find_by_record_id(tx, self._row.ledger_id, [wanted])
        if wanted not in found:
            raise NotFoundError(f"no entry with id {record_id}")
        return found[wanted].index

    def search(self, query: EntryQuery) -> Page:
        """Return the indexes of matching entries; what it covers is told by ``Page.size``."""
        return self._views.search(self._row.ledger_id, query)

    def search_subject(
        self, subject: str, reader: Reader, *, after: int | None, limit: int
    ) -> Page:
        """Return the indexes of entries about a subject, whose payload the reader may see."""
        return self._views.about(self._row.ledger_id, subject, reader, after, limit)

    def search_changes(
        self,
        kind: str | None,
        target: bytes | None,
        reader: Reader,
        *,
        after: int | None,
        limit: int,
    ) -> Page:
        """Return the indexes of entries in the register of changes, of those the reader sees."""
        return self._views.changes(self._row.ledger_id, kind, target, reader, after, limit)

    def wait_for(self, size: int, timeout_s: float) -> int:
        """Wait until the log is larger than ``size`` or the time is up; return its size."""
        return self._follower.wait_for(self._row.ledger_id, size, timeout_s)

    def wait_until_searchable(self, size: int, timeout_s: float) -> int:
        """Wait until the views cover ``size`` entries or the time is up; return what they cover."""
        return self._follower.wait_for_views(self._row.ledger_id, size, timeout_s)

    # --- exporting ---------------------------------------------------------------

    def export(
        self, start: int, end: int | None, recipient: str, reader: Reader = OPERATOR
    ) -> Iterator[bytes]:
        """Record the export, then yield the archive of entries ``[start, end)`` as zip bytes.

        What ``reader`` may not see is declared in it as withheld.
        """
        if not self.is_operated_here():
            raise ForbiddenError("this service's key is no operator of the ledger: cannot export")
        export = self._record_export(start, end, recipient)
        exporter = Exporter(
            self._database,
            self._row,
            self._prover,
            self._operator,
            self._clock,
            self._witnessed,
            self._payloads,
            self._constitution,
        )
        end = end or export.index + 1
        self._await_witnesses(end)
        return exporter.export(start, end, export, reader)

    def _record_export(self, start: int, end: int | None, recipient: str) -> Appended:
        """Record an export. A closed ledger takes no record: its last entry stands for it."""
        closing = self.closing()
        if closing is None:
            body = Exporter.describe(start, end, recipient)
            return self.append_as_operator("export/1", body)
        last = self.entry(closing.size - 1)
        entry = parse_entry(last.leaf)
        return Appended(
            index=last.index,
            leaf_hash=last.leaf_hash,
            received_at=entry.header.received_at,
            record_id=parse_record(entry.record).id,
            receipt=b"",
            is_new=False,
        )

    def _await_witnesses(self, size: int) -> None:
        """Give witnesses that keep up a moment, so that a fresh archive has their cosignatures."""
        end_s = time.monotonic() + _WITNESSES_S
        while self._witnessed.has_quorum and time.monotonic() < end_s:
            with self._reading() as tx:
                status = self._witnessed.status(tx, self._row.ledger_id)
            if (status.witnessed or 0) >= size or status.not_witnessed_since is not None:
                return
            time.sleep(_LOOK_S)

    def is_operated_here(self) -> bool:
        """Say whether the service's own key may write as an operator."""
        key = ids.format_key(self._operator.public_key)
        constitution = self.constitution()
        standing = constitution.keys.get(key)
        stands = standing is not None and standing.revoked is None
        return bool(stands and standing and "operator" in standing.roles)

    # --- governing ---------------------------------------------------------------

    def constitution(self) -> Constitution:
        """Return members, keys, policies and audiences as they stand; change nothing in it."""
        with self._reading() as tx:
            return self._constitution.read(tx)

    def proposal(self, leaf_hash: bytes) -> Proposal:
        with self._reading() as tx:
            found = assemblies.find_proposals(tx, self._row.ledger_id, [leaf_hash])
            check_ended(tx, self._row.ledger_id, found.values())
        if leaf_hash not in found:
            raise NotFoundError(f"{ids.format_digest(leaf_hash)} is no proposal of this ledger")
        return found[leaf_hash]

    def proposals(self, verdict: Verdict | None, *, after: int, limit: int) -> list[Proposal]:
        """Return proposals that ended so, or are open (None), in order of index."""
        with self._reading() as tx:
            found = assemblies.list_proposals(
                tx, self._row.ledger_id, verdict=verdict, after=after, limit=limit
            )
            check_ended(tx, self._row.ledger_id, found)
            return found

    def count_proposals(self) -> dict[str | None, int]:
        """Return how many proposals ended how; None counts those still open."""
        with self._reading() as tx:
            return assemblies.count_proposals(tx, self._row.ledger_id)

    def effects(self, indexes: Sequence[int]) -> dict[int, Effect]:
        """Return, by index, what holds of those of these entries that anything was done to."""
        with self._reading() as tx:
            return effects.find_changed(tx, self._row.ledger_id, indexes)

    def charter_body(self) -> Charter:
        """Return what the charter says."""
        charter: Charter = decode_part(CHARTER_1, "body", JSON, self.entry(0).parts["body"].data)
        return charter

    def closing(self) -> Closing | None:
        """Return where this ledger was closed, and is anchored; None while it is open."""
        with self._reading() as tx:
            return closings.find(tx, self._row.ledger_id)

    def expire(self, leaf_hash: bytes) -> None:
        """End a proposal whose time is up; :class:`StandingError` if it has ended already."""
        outcome = outcome_of(self.proposal(leaf_hash), Ruling("expired", "time"))
        self.append_as_operator(OUTCOME_1.name, msgspec.json.encode(outcome))
