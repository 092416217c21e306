"""All ledgers of one service: found one, find one, and check them against what was signed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from ledger_core import ids
from ledger_core.admission import admit
from ledger_core.anchorer import Anchorer
from ledger_core.beside import Keeper
from ledger_core.clerk import Clerk
from ledger_core.clock import Clock, now_ms
from ledger_core.constitutions import ConstitutionReader
from ledger_core.eraser import Eraser
from ledger_core.errors import (
    ConflictError,
    ForkError,
    IntegrityError,
    LedgerGridError,
    MalformedError,
    NotFoundError,
)
from ledger_core.fail_points import reach
from ledger_core.follower import Follower
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.entry import NO_PREVIOUS, Entry, Header, format_entry
from ledger_core.formats.submission import Submission, seal_json
from ledger_core.formats.trust_policy import TrustPolicy
from ledger_core.formats.vkey import format_vkey
from ledger_core.indexer import Indexer
from ledger_core.keyring import Keyring
from ledger_core.keystore.model import KeyStore
from ledger_core.ledger import Ledger
from ledger_core.merkle.tree import leaf_hash
from ledger_core.payloads import Payloads
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import Assembly
from ledger_core.policy.constitution import Constitution
from ledger_core.records.types.charter import NOTHING_MORE, Charter, Founding, FoundingKey, Kind
from ledger_core.schedule import Schedule
from ledger_core.signing import CheckpointSigner, KeyHistory, LogKeys, check_continues, check_left
from ledger_core.storage import assemblies, catalogue, store, trees
from ledger_core.storage.catalogue import LedgerRow
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.signer_memory import Signed, SignerMemory
from ledger_core.storage.store import Head, NewEntry, StoredPart
from ledger_core.storage.views import Views
from ledger_core.witnessed import LATE_MS, Witnessed

_OPEN_LEDGERS = 20_000
_LATEST_LEDGERS, _LATEST_ENTRIES = 20, 200
"""So many are looked at when a service starts, to see that it has the right key store."""
_CHECKED_AGAIN = 25
"""Of the ledgers found to continue what was signed, so many are checked in full each time."""


class Ledgers:
    """Opens each ledger once a process. ``_open`` is guarded by ``_lock``."""

    def __init__(
        self,
        database: Database,
        memory: SignerMemory,
        keyring: Keyring,
        keys: KeyStore,
        *,
        clock: Clock = now_ms,
        origin_prefix: str = "",
        witness_policy: TrustPolicy | None = None,
        witness_late_ms: int = LATE_MS,
        key_backup_days: int | None = None,
        retention_interval_s: int = 0,
        keeper: Keeper | None = None,
    ) -> None:
        self._database = database
        self._memory = memory
        self.keyring = keyring
        self.clock = clock
        self._prefix = origin_prefix or f"ledgergrid.local/{keyring.service_name()}"
        self._lock = threading.Lock()
        self._open: dict[str, Ledger] = {}
        self._checked: dict[str, Signed] = {}
        self.witnessed = Witnessed(witness_policy, clock, witness_late_ms)
        self.payloads = Payloads(keys)
        self.views = Views(database)
        self.follower = Follower(database, self.views, self.payloads, keeper)
        self.anchorer = Anchorer(database, self.get, clock)
        self.schedule = Schedule(database, self.each, clock, retention_interval_s)
        self.eraser = Eraser(
            database,
            keys,
            self.views,
            self.find,
            clock,
            key_backup_days,
            also=self.schedule.order_due,
        )
        self.indexer = Indexer(database, self.views, self.find, self.follower.sizes, keeper)
        self.clerk = Clerk(database, self._expire, self.anchorer.anchor_due, clock)

    def start(self) -> None:
        """Destroy what must not be there, make the views ready, and start what runs beside."""
        self.prepare_views()
        self.eraser.start()
        self.follower.start()
        self.indexer.start()
        self.clerk.start()

    def prepare_views(self) -> None:
        """Have views that can be filled: of this version, and of no longer history than ours."""
        self.views.ensure()
        self.follower.prepare()

    def keep(self) -> None:
        """Fill views and full text, and nothing else: as the keeper (beside.py)."""
        self.prepare_views()
        self.indexer.spares_others = False
        self.follower.start()
        self.indexer.start()

    def close(self) -> None:
        self.indexer.close()
        self.eraser.close()
        self.clerk.close()
        self.follower.close()
        self.payloads.close()

    def _expire(self, ledger_id: int, leaf_hash: bytes) -> None:
        self.find(ledger_id).expire(leaf_hash)

    def create(
        self,
        name: str,
        *,
        kind: Kind = "private",
        origin: str | None = None,
        operators: Sequence[str] = (),
        founding: Founding = NOTHING_MORE,
    ) -> Ledger:
        """Found a ledger: its charter is entry 0. The service's own key is an operator in it.

        ``operators`` are further founding operators, as ``ed25519:…`` keys. Raises
        :class:`PayloadError` for a charter that its own rule refuses.
        """
        ids.check_ledger_name(name)
        origin = origin or f"{self._prefix}/{name}"
        ids.check_origin(origin)
        if ids.parse_epoch(origin)[1] > 1:
            raise MalformedError(f"origin {origin} would be that of a ledger's later epoch")
        log_key, own = self.keyring.log_signer(origin).public, self.keyring.operator(origin)
        charter = _charter(origin, kind, format_vkey(log_key), own, operators, founding)
        body = msgspec.json.encode(charter)
        submission = seal_json(origin, "charter/1", body, own, self.clock())
        with self._database.write() as tx:
            catalogue.lock_ledgers(tx)
            if catalogue.is_taken(tx, name, origin):
                raise ConflictError("this name or origin is taken", stored=name, received=name)
            row = _found(tx, self._database, name, charter, submission, self.clock())
            reach("ledgers.before-commit")
        reach("ledgers.after-commit")
        self.follower.ring(row.ledger_id, 1)
        return self.get(name)

    def get(self, name: str) -> Ledger:
        """Return the ledger of this name; :class:`NotFoundError` if there is none."""
        with self._lock:
            found = self._open.get(name)
        if found is not None:
            return found
        with self._database.read() as tx:
            row = catalogue.find_ledger(tx, name)
        if row is None:
            raise NotFoundError(f"no ledger named {name[:80]!r}")
        return self._open_ledger(row)

    def find(self, ledger_id: int) -> Ledger:
        """Return the ledger with this id."""
        with self._database.read() as tx:
            name = catalogue.read_ledger_name(tx, ledger_id)
        return self.get(name)

    def _open_ledger(self, row: LedgerRow) -> Ledger:
        constitution = ConstitutionReader(row.ledger_id)
        keys = LogKeys(self.keyring, partial(self._read_log_keys, constitution))
        signer = CheckpointSigner(self._database, self._memory, row, keys)
        # Derived once for all epochs: who stood before stands on.
        operator = self.keyring.operator(row.origins[0])
        made = Ledger(
            row,
            self._database,
            self.views,
            self.follower,
            signer,
            operator,
            self.clock,
            self.witnessed,
            constitution,
            self.payloads,
        )
        # What kind of ledger it is decides who may read it: no word but the charter's counts.
        made.check_charter()
        # A fork does not stop reads: the ledger keeps the reason and says it on every append.
        with contextlib.suppress(ForkError):
            made.check()
        with self._lock:
            if len(self._open) >= _OPEN_LEDGERS:
                self._open.pop(next(iter(self._open)))
            return self._open.setdefault(row.name, made)

    def _read_log_keys(self, constitution: ConstitutionReader) -> KeyHistory:
        with self._database.read() as tx:
            return constitution.read(tx).log_keys

    def each(self) -> Iterator[Ledger]:
        """Go through all ledgers, in order of their names."""
        after = ""
        while names := self.names(after=after):
            yield from map(self.get, names)
            after = names[-1]

    def names(self, *, after: str = "", limit: int = 1000) -> list[str]:
        """Return ledgers' names in order, those behind ``after``."""
        with self._database.read() as tx:
            return [row.name for row in catalogue.list_ledgers(tx, after, limit)]

    def degraded(self) -> dict[str, LedgerGridError]:
        """Return the ledgers of this process that take no appends, and why."""
        with self._lock:
            ledgers = list(self._open.values())
        return {x.name: x.read_only for x in ledgers if x.read_only is not None}

    def count_keys(self) -> tuple[int, int]:
        """Return how many data keys there are, and how many of them seal nothing."""
        with self._database.read() as tx:
            return self.payloads.count_keys(tx)

    def check_keys(self) -> None:
        """Raise :class:`IntegrityError` unless the key store is that of the newest payloads.

        Looks at the ledgers appended to last: another service's key store has none of their
        keys, and an older copy of ours has not the newest.
        """
        with self._database.read() as tx:
            heads = sorted(catalogue.read_all_heads(tx), key=lambda each: -each[1].received_at)
            for row, head in heads[:_LATEST_LEDGERS]:
                start = max(0, head.size - _LATEST_ENTRIES)
                try:
                    self.payloads.check_keys(tx, row.ledger_id, start, head.size)
                except IntegrityError as error:
                    raise IntegrityError(f"{row.name}: {error}", index=error.index) from None

    def check_signed(self) -> list[ForkError]:
        """Compare every ledger with what was signed last; return what does not continue it.

        Sizes are compared each time. Roots are computed anew where something was signed since,
        and for some of the others, those first that were not looked at for longest.
        """
        signed = self._memory.recall_all()
        with self._database.read() as tx:
            heads = {row.origin: (row, head) for row, head in catalogue.read_all_heads(tx)}
        founded = {row.origins[0]: row for row, _ in heads.values()}
        found: list[ForkError] = []
        skipped = self._find_checked(signed)
        for origin, last in signed.items():
            row, head = heads.get(origin, (founded.get(ids.parse_epoch(origin)[0]), None))
            if origin in skipped and (head is None or head.size >= last.size):
                continue
            try:
                if row is None:
                    raise ForkError(f"{origin}: signed up to {last.size}, not in the database")
                if head is None:
                    check_left(self._database, row, origin, last)
                else:
                    check_continues(self._database, row, head, last)
            except ForkError as error:
                found.append(error)
            else:
                self._note_checked(origin, last)
        return found

    def _find_checked(self, signed: dict[str, Signed]) -> set[str]:
        """Return the ledgers whose roots need not be computed this time."""
        with self._lock:
            checked = [
                origin for origin, last in self._checked.items() if signed.get(origin) == last
            ]
        return set(checked[_CHECKED_AGAIN:])

    def _note_checked(self, origin: str, signed: Signed) -> None:
        with self._lock:
            self._checked.pop(origin, None)
            self._checked[origin] = signed


def _charter(
    origin: str,
    kind: Kind,
    log_key: str,
    own: PrivateKey,
    operators: Sequence[str],
    founding: Founding,
) -> Charter:
    keys = [ids.format_key(own.public_key), *operators]
    operating = tuple(FoundingKey(key, ("operator",)) for key in keys)
    return Charter(
        origin=origin,
        kind=kind,
        log_key=log_key,
        keys=operating + founding.keys,
        members=founding.members,
        policies=founding.policies,
        audiences=founding.audiences,
        mutability=founding.mutability,
        parties=founding.parties,
        parent=founding.parent,
    )


def _found(
    tx: Transaction,
    database: Database,
    name: str,
    charter: Charter,
    submission: Submission,
    now: int,
) -> LedgerRow:
    """Store a ledger with its first entry."""
    admitted = admit(submission, charter.origin)
    header = Header(charter.origin, 0, NO_PREVIOUS, now, submission.signed.signature)
    leaf = format_entry(Entry(header, submission.signed.raw))
    first = leaf_hash(leaf)
    author = submission.signed.record.author
    act = Act(0, first, now, admitted.kind, author, admitted.payload)
    assembly = Assembly(Constitution(), {})
    assembly.take(act, assembly.check(act))
    row = catalogue.add_ledger(tx, name, charter.origin, charter.kind, first)
    # The charter lies in the clear, as all governance does.
    parts = {name: StoredPart(p.salt, p.data, None) for name, p in admitted.parts.items()}
    entry = NewEntry(0, NO_PREVIOUS, first, admitted.record_id, leaf, parts)
    store.add_entries(tx, database.dialect, row.ledger_id, [entry])
    trees.add_checkpoint(tx, row.ledger_id, 1, first)
    store.add_head(tx, row.ledger_id, Head(1, first, first, now))
    assemblies.add_constitutional(tx, database.dialect, row.ledger_id, [0])
    return row
