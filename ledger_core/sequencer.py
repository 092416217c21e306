"""The sequencer gives a batch of admitted records its places, in one transaction.

Life of a batch::

    lock head -> compare with the edge in memory -> per record: id free? refs there?
    author stands? -> entry, leaf hash -> entries, payloads, tiles, keys, checkpoint, head
    -> COMMIT -> (early answers) -> signer memory, durable -> sign -> receipts

What a crash leaves behind: before COMMIT nothing; between COMMIT and the signer memory
entries that nobody was told of, found again by id when their authors retry; after the
signer memory a checkpoint that the database holds. Never a signature over what is not
committed, never an acknowledgement of what is not durable. Who asks for no receipt is answered at
COMMIT (:class:`Committed`): what was made durable stays so, whatever becomes of the signer's
memory. If that cannot be reached, signing is tried again; if it contradicts the tree, the ledger
takes nothing more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass

import msgspec

from ledger_core import constitutions, ids
from ledger_core.admission import Admitted
from ledger_core.clock import Clock
from ledger_core.errors import (
    ForkError,
    IntegrityError,
    LedgerGridError,
    OutcomeUnknownError,
    ReadOnlyError,
    StorageError,
)
from ledger_core.fail_points import reach
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.receipt import Receipt, format_receipt
from ledger_core.merkle.tiles import TileEdge
from ledger_core.merkle.tree import Frontier, Growth, leaf_hash
from ledger_core.payloads import Payloads, Sealer
from ledger_core.placing import Batch, Placed, Registrar, Taken
from ledger_core.policy.allowances import Allowances, state_key
from ledger_core.policy.assembly import Assembly, named_proposals
from ledger_core.policy.changes import named_by
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect
from ledger_core.policy.proposals import Proposal
from ledger_core.policy.streams import Counters
from ledger_core.prover import Prover
from ledger_core.signing import CheckpointSigner
from ledger_core.storage import (
    allowances,
    assemblies,
    closings,
    counters,
    effects,
    epochs,
    store,
    trees,
)
from ledger_core.storage.catalogue import LedgerRow
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.prepared import sent_at_once
from ledger_core.storage.store import Head, Opened
from ledger_core.viewing import Seen


class Appended(msgspec.Struct, frozen=True):
    """An acknowledged record: durable, and covered by the checkpoint in its receipt."""

    index: int
    leaf_hash: bytes
    received_at: int
    record_id: str
    receipt: bytes
    is_new: bool


Outcome = Appended | LedgerGridError


class Committed(msgspec.Struct, frozen=True):
    """A record that is durable, and covered by no signed checkpoint yet.

    ``size`` and ``root`` are those of the tree that the next checkpoint covers. ``used``: what was
    used, before, of each budget that the record draws from, in order.
    """

    index: int
    leaf_hash: bytes
    received_at: int
    record_id: str
    size: int
    root: bytes
    used: tuple[int, ...]
    is_new: bool


@dataclass(frozen=True)
class Commit:
    """A batch that was just committed: its records' places, and the tree they are in."""

    places: Sequence[Placed | LedgerGridError]
    growth: Growth
    is_grown: bool

    def outcome(self, number: int) -> Committed | LedgerGridError:
        """Return what became of the batch's record of this number."""
        place = self.places[number]
        if not isinstance(place, Placed):
            return place
        return Committed(
            place.index,
            place.leaf_hash,
            place.received_at,
            place.record_id,
            self.growth.size,
            self.growth.root,
            place.used,
            place.is_new,
        )


_FORGET_EACH_MS, _FORGET_AGAIN_MS, _FORGET_AT_ONCE = 60_000, 1_000, 1_000
"""How often allowances that are over are looked for; sooner if there were many."""


@dataclass
class _Edge:
    """What the sequencer remembers of the ledger between batches."""

    head: Head
    frontier: Frontier
    tiles: TileEdge
    constitution: Constitution


class Sequencer:
    """One ledger's writer in this process; thread-safe, one transaction at a time."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerRow,
        signer: CheckpointSigner,
        prover: Prover,
        operator: PrivateKey,
        clock: Clock,
        payloads: Payloads,
        hand_over: Callable[[Sequence[Seen]], None] = lambda appended: None,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._signer = signer
        self._registrar = Registrar(ledger.origin, operator)
        self._prover = prover
        self._clock = clock
        self._payloads = payloads
        self._hand_over = hand_over
        # Held for a whole transaction; guards _edge.
        self._lock = threading.Lock()
        self._edge: _Edge | None = None
        self._forget_at_ms = 0
        self.read_only: IntegrityError | None = None

    def sequence(self, admitted: Sequence[Admitted]) -> list[Outcome]:
        """Append what may be appended; one refused record does not sink the rest."""
        if not admitted:
            return []
        return self.acknowledge(self.commit(admitted), range(len(admitted)))

    def commit(self, admitted: Sequence[Admitted]) -> Commit:
        """Give records their places, durably: the next batch may begin when this returns.

        The signer's memory of this one is then written (:meth:`acknowledge`) while that one
        commits.
        """
        try:
            with self._payloads.sealing(admitted) as sealer, self._lock:
                if self.read_only is not None:
                    raise ReadOnlyError(f"read-only since an error was found: {self.read_only}")
                return self._commit(admitted, sealer)
        except IntegrityError as error:
            self.degrade(error)
            raise

    def acknowledge(self, commit: Commit, numbers: Iterable[int]) -> list[Outcome]:
        """Sign what was committed; return the outcome of the batch's records of these numbers."""
        try:
            checkpoint = self._sign(commit.growth) if commit.is_grown else b""
            reach("sequencer.after-memory")
            places = [commit.places[number] for number in numbers]
            return [
                self._acknowledge(each, commit.growth, checkpoint)
                if isinstance(each, Placed)
                else each
                for each in places
            ]
        except IntegrityError as error:
            self.degrade(error)
            raise

    def degrade(self, error: IntegrityError) -> None:
        """Take no appends from now on. Degraded, never wrong: reads that prove go on."""
        self.read_only = self.read_only or error

    def _commit(self, admitted: Sequence[Admitted], sealer: Sealer) -> Commit:
        with self._database.write() as tx:
            opened = self._open(tx, admitted)
            reach("sequencer.locked")
            edge = self._edge_at(tx, opened.head)
            batch = self._begin(tx, opened, edge, admitted, sealer)
            places = [batch.place(tx, each) for each in admitted]
            grown, growth = self._store(tx, edge, batch)
            reach("sequencer.before-commit")
        reach("sequencer.after-commit")
        self._edge = grown
        self._hand_over(batch.appended)
        self._signer.keys.learn(growth.size, grown.constitution.log_keys)
        return Commit(places, growth, bool(batch.entries))

    def _sign(self, growth: Growth) -> bytes:
        """Sign what was just committed. If that cannot be, its authors must ask again."""
        try:
            return self._signer.sign(growth.size, growth.root)
        except (StorageError, ReadOnlyError) as error:
            raise OutcomeUnknownError(f"stored, but the signer's memory failed: {error}") from error

    # --- inside the transaction --------------------------------------------------

    def _edge_at(self, tx: Transaction, head: Head) -> _Edge:
        """Return the edge at ``head``, from memory if it can be; check every word of the head."""
        edge, ledger_id = self._edge, self._ledger.ledger_id
        if edge is not None and edge.head == head:
            return edge
        if edge is None:
            tiles = trees.read_tile_edge(tx, ledger_id, head.size)
            constitution = constitutions.extend(tx, ledger_id, Constitution(), 0, head.size)
            edge = _Edge(head, tiles.frontier(), tiles, constitution)
            last = b"".join(store.read_leaves(tx, ledger_id, head.size - 1, head.size))
        elif edge.head.size < head.size:
            since = store.read_since(tx, ledger_id, edge.head.size, head.size)
            last, new = since.last_leaf, since.leaf_hashes
            constitution = constitutions.extend_by(
                tx, ledger_id, edge.constitution, since.constitutional
            )
            tiles, frontier = edge.tiles.extended(new)[0], edge.frontier.extend(new)
            edge = _Edge(head, frontier, tiles, constitution)
        elif edge.head.size > head.size:
            raise ForkError(
                f"database went back from size {edge.head.size} to {head.size}", index=head.size
            )
        else:  # Of the same size, and another head all the same.
            last = b"".join(store.read_leaves(tx, ledger_id, head.size - 1, head.size))
        if (
            edge.frontier.size != head.size
            or edge.frontier.root() != head.root
            or leaf_hash(last) != head.last_leaf
            or parse_entry(last).header.received_at != head.received_at
        ):
            raise IntegrityError(f"the head of size {head.size} is not what the entries say")
        newest = edge.constitution.origin
        if newest not in self._ledger.origins:
            raise IntegrityError(f"{newest} was opened under this process: restart it")
        return edge

    def _open(self, tx: Transaction, admitted: Sequence[Admitted]) -> Opened:
        ledger_id = self._ledger.ledger_id
        refs: set[bytes] = set()
        record_ids: list[bytes] = []
        drawn: set[bytes] = set()
        for each in admitted:
            record_ids.append(each.record_id)
            refs.update(each.refs, each.named)
            drawn.update(map(state_key, each.draws), map(state_key, each.rates))
            refusal = self._registrar.seal_refusal(each)
            if refusal is not None:
                record_ids.append(refusal.record_id)
        return store.open_append(
            tx, ledger_id, record_ids, refs, allowances.finding(tx, ledger_id, drawn)
        )

    def _begin(
        self,
        tx: Transaction,
        opened: Opened,
        edge: _Edge,
        admitted: Sequence[Admitted],
        sealer: Sealer,
    ) -> Batch:
        named = {leaf for each in admitted for leaf in each.named}
        numbers = {each.counter for each in admitted if each.counter is not None}
        known, known_effects = self._recall(tx, admitted, named)
        received_at = max(self._clock(), opened.head.received_at)
        for each in known.values():
            if not edge.constitution.policies.keys() >= set(each.policies):
                raise IntegrityError(
                    f"proposal {each.index} waits under no policy", index=each.index
                )
        return Batch(
            ledger_id=self._ledger.ledger_id,
            head=opened.head,
            received_at=received_at,
            taken={
                record_id: Taken(entry.index, entry.leaf, entry.leaf_hash)
                for record_id, entry in opened.taken.items()
            },
            known_refs=opened.known_refs,
            known_proposals=known,
            counters=Counters(counters.find_firsts(tx, self._ledger.ledger_id, numbers)),
            assembly=Assembly(edge.constitution, dict(known), known_effects),
            named=named,
            sealer=sealer,
            registrar=self._registrar,
            allowances=Allowances(allowances.found(opened.more), received_at),
        )

    def _recall(
        self, tx: Transaction, admitted: Sequence[Admitted], named: Set[bytes]
    ) -> tuple[dict[bytes, Proposal], dict[bytes, Effect]]:
        """Return the proposals and the effects that decide what these records may do."""
        ledger_id = self._ledger.ledger_id
        spoken = {leaf for each in admitted for leaf in named_proposals(each.kind, each.payload)}
        known = assemblies.find_proposals(tx, ledger_id, spoken) if spoken else {}
        asked = set(named)
        for each in known.values():
            if each.change is not None:
                asked |= {each.leaf_hash, *map(ids.parse_digest, named_by(each.change))}
        if not asked:
            return known, {}
        found = effects.find(tx, ledger_id, asked)
        return known | assemblies.find_proposals(tx, ledger_id, found.keys()), found

    def _store(self, tx: Transaction, edge: _Edge, batch: Batch) -> tuple[_Edge, Growth]:
        leaf_hashes = [entry.leaf_hash for entry in batch.entries]
        growth = Growth(edge.frontier, leaf_hashes)
        if not batch.entries:
            return edge, growth
        tiles, full = edge.tiles.extended(leaf_hashes)
        ledger_id, dialect = self._ledger.ledger_id, self._database.dialect
        head = Head(growth.size, growth.root, leaf_hashes[-1], batch.received_at)
        with sent_at_once(tx):
            store.add_entries(tx, dialect, ledger_id, batch.entries)
            reach("sequencer.entries-stored")
            trees.add_tiles(tx, dialect, ledger_id, full)
            reach("sequencer.tiles-stored")
            trees.add_checkpoint(tx, ledger_id, growth.size, growth.root)
            reach("sequencer.checkpoint-stored")
            store.move_head(tx, ledger_id, head)
            self._store_governance(tx, batch)
            drawn = batch.allowances
            allowances.put(tx, dialect, ledger_id, drawn.changed, drawn.known)
            reach("sequencer.allowances-stored")
        if drawn.changed and batch.received_at >= self._forget_at_ms:
            self._forget_allowances(tx, batch.received_at)
        assembly = batch.assembly
        effects.put(tx, ledger_id, assembly.alterations.altered.values())
        if assembly.constitution.closed is not None and edge.constitution.closed is None:
            closings.add(tx, ledger_id, growth.size)
        for index, origin in assembly.constitution.origins[len(edge.constitution.origins) :]:
            epochs.add(tx, ledger_id, index, origin)
            reach("epoch.before-commit")
        return _Edge(head, growth.frontier, tiles, assembly.constitution), growth

    def _store_governance(self, tx: Transaction, batch: Batch) -> None:
        """Store what the batch did to counters, constitution and proposals; nothing is read."""
        ledger_id, dialect = self._ledger.ledger_id, self._database.dialect
        assembly, refs = batch.assembly, batch.known_refs
        given = {counter: refs[leaf] for counter, leaf in batch.counters.given.items()}
        counters.add(tx, dialect, ledger_id, given)
        assemblies.add_constitutional(tx, dialect, ledger_id, assembly.constitutional)
        changed = assembly.changed.values()
        assemblies.put_proposals(tx, dialect, ledger_id, changed, batch.known_proposals)

    def _forget_allowances(self, tx: Transaction, now_ms: int) -> None:
        gone = allowances.forget(tx, self._ledger.ledger_id, now_ms, _FORGET_AT_ONCE)
        is_behind = gone == _FORGET_AT_ONCE
        self._forget_at_ms = now_ms + (_FORGET_AGAIN_MS if is_behind else _FORGET_EACH_MS)

    # --- after the commit --------------------------------------------------------

    def _acknowledge(self, place: Placed, growth: Growth, checkpoint: bytes) -> Appended:
        """Make the receipt: of this batch's tree, or of the one the entry was first covered by."""
        index = place.index
        if place.size is None:
            path = tuple(growth.prove_inclusion(index))
            receipt = format_receipt(Receipt(index, path, checkpoint, place.header))
        else:
            with self._database.read() as tx:
                receipt = self._prover.receipt(tx, index, place.size)
        return Appended(
            index=index,
            leaf_hash=place.leaf_hash,
            received_at=place.received_at,
            record_id=place.record_id,
            receipt=receipt,
            is_new=place.is_new,
        )
