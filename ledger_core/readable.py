"""A ledger as it is read: entries, proofs, searches, and what holds of them. Nothing is appended.

Found corruption ends the appends, not the reads: whoever made the ledger is told of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from ledger_core import ids
from ledger_core.constitutions import ConstitutionReader, check_ended
from ledger_core.errors import (
    IntegrityError,
    NotFoundError,
)
from ledger_core.follower import Follower
from ledger_core.formats.vkey import LogKey
from ledger_core.merkle.tiles import TileId
from ledger_core.opening import check_leaf, look_into_entries, open_entries
from ledger_core.payloads import Opened, Payloads
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect
from ledger_core.policy.epochs import origin_at
from ledger_core.policy.proposals import Proposal
from ledger_core.policy.visibility import Reader
from ledger_core.prover import ConsistencyProof, InclusionProof, Prover
from ledger_core.records.model import JSON, decode_part
from ledger_core.records.types.charter import CHARTER_1, Charter, Kind
from ledger_core.records.types.outcome import Verdict
from ledger_core.signing import CheckpointSigner, KeyHistory
from ledger_core.states import States
from ledger_core.storage import assemblies, closings, effects, store, trees
from ledger_core.storage.catalogue import LedgerRow
from ledger_core.storage.closings import Closing
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.search import EntryQuery, Page, Search
from ledger_core.storage.store import Gone, SealedEntry, StoredEntry
from ledger_core.storage.views import Views
from ledger_core.viewing import Seen
from ledger_core.witnessed import Status, Witnessed


class ReadableLedger:
    """What can be read of one ledger of a service, by this process; thread-safe.

    ``degrade`` is told of corruption that was found: no appends from then on.
    """

    def __init__(
        self,
        row: LedgerRow,
        database: Database,
        views: Views,
        follower: Follower,
        signer: CheckpointSigner,
        prover: Prover,
        witnessed: Witnessed,
        constitution: ConstitutionReader,
        payloads: Payloads,
        degrade: Callable[[IntegrityError], None],
    ) -> None:
        self._row = row
        self._database = database
        self._search = Search(database, views.tables, row.ledger_id)
        self._follower = follower
        self._signer = signer
        self._witnessed = witnessed
        self._prover = prover
        self._payloads = payloads
        self._constitution = constitution
        self._degrade = degrade
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
    def log_key(self) -> LogKey:
        """The key that signs the newest checkpoint."""
        return self._signer.keys.at(self.size()).public

    def log_keys(self) -> KeyHistory:
        """Return all keys the log has had, each with the index of the entry that named it."""
        return self._signer.keys.history(self.size())

    @contextmanager
    def _reading(self) -> Iterator[Transaction]:
        """Read in one transaction; found corruption ends the appends, not the reads."""
        try:
            with self._database.read() as tx:
                yield tx
        except IntegrityError as error:
            self._degrade(error)
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
                size = trees.find_covering_size(tx, self._row.ledger_id, index)
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

    def look_into(self, indexes: Sequence[int]) -> list[tuple[Seen, Opened]]:
        """Return those of the named entries that exist, as views are made of them."""
        with self._reading() as tx:
            constitution = self._constitution.read(tx)
            ledger_id = self._row.ledger_id
            return look_into_entries(tx, ledger_id, indexes, self._payloads, constitution)

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
                    self._degrade(IntegrityError(message, index=entry.index))

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
        return self._search.find(query)

    def search_subject(
        self, subject: str, reader: Reader, *, after: int | None, limit: int
    ) -> Page:
        """Return the indexes of entries about a subject, whose payload the reader may see."""
        return self._search.about(subject, reader, after, limit)

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
        return self._search.changes(kind, target, reader, after, limit)

    def wait_for(self, size: int, timeout_s: float) -> int:
        """Wait until the log is larger than ``size`` or the time is up; return its size."""
        return self._follower.wait_for(self._row.ledger_id, size, timeout_s)

    def wait_until_searchable(self, size: int, timeout_s: float) -> int:
        """Wait until the views cover ``size`` entries or the time is up; return what they cover."""
        return self._follower.wait_for_views(self._row.ledger_id, size, timeout_s)

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
