"""Signs checkpoints, and only such as the database holds and the signer's memory allows.

Order: committed in the database, remembered durably outside of it, then signed. Ed25519 is
deterministic, so every replica gives the same bytes for the same checkpoint.

The log's key rotates by record (``log.key/1``): a checkpoint that covers the record is signed by
the new key, a smaller one by the old key, at any time and in every process. An epoch (``epoch/1``)
changes key and origin alike: a key's name is the origin of the checkpoints it signs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache

from ledger_core import constitutions, ids
from ledger_core.errors import ForkError, IntegrityError, MalformedError, ReadOnlyError
from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint
from ledger_core.formats.vkey import NoteSigner, format_vkey
from ledger_core.keyring import Keyring
from ledger_core.records.types.epoch import Known
from ledger_core.records.types.log_key import LogKeyChange, handover_message
from ledger_core.storage import store, trees
from ledger_core.storage.catalogue import LedgerRow
from ledger_core.storage.database import Database
from ledger_core.storage.signer_memory import Signed, SignerMemory
from ledger_core.storage.store import Head

KeyHistory = tuple[tuple[int, str], ...]
"""vkeys of a log, each with the index of the entry that named it."""


class LogKeys:
    """One log's private keys: which one signs which size, as the log's own entries say.

    ``read`` gives the history as the database has it now. ``_known`` is a size and the history
    that holds up to it; it is replaced as a whole, and an older one does no harm.
    """

    def __init__(self, keyring: Keyring, read: Callable[[], KeyHistory]) -> None:
        self._keyring = keyring
        self._read = read
        self._known: tuple[int, KeyHistory] = (0, ())
        self._signers: dict[str, NoteSigner] = {}

    def learn(self, size: int, history: KeyHistory) -> None:
        """Take over a history that holds up to ``size``."""
        if size > self._known[0]:
            self._known = (size, history)

    def history(self, size: int) -> KeyHistory:
        """Return the keys named by entries below ``size``, which the database holds."""
        if size > self._known[0]:
            self.learn(size, self._read())
        return tuple(each for each in self._known[1] if each[0] < size)

    def at(self, size: int) -> NoteSigner:
        """Return the key that signs the checkpoint of ``size``."""
        history = self.history(size)
        vkey = history[-1][1]
        if vkey not in self._signers:
            self._signers[vkey] = self._derive(_origin_of(vkey), _generation(history) - 1, vkey)
        return self._signers[vkey]

    def is_left(self, size: int) -> bool:
        """Say whether the checkpoint of ``size`` is of an epoch that is over."""
        origin = self.at(size).name
        return _origin_of(self._known[1][-1][1]) != origin

    def _derive(self, origin: str, generation: int, vkey: str) -> NoteSigner:
        signer = self._keyring.log_signer(origin, generation)
        if format_vkey(signer.public) != vkey:
            raise IntegrityError(f"this service does not hold the log's key {vkey}")
        return signer

    def hand_over(self, size: int) -> LogKeyChange:
        """Say, signed by both, that the key of ``size`` hands over to the next one."""
        old = self.at(size)
        new = self._keyring.log_signer(old.name, _generation(self.history(size)))
        named = format_vkey(old.public), format_vkey(new.public)
        message = handover_message(old.name, *named)
        by_old, by_new = (ids.encode_base64url(each.private.sign(message)) for each in (old, new))
        return LogKeyChange(*named, by_old, by_new)


def _origin_of(vkey: str) -> str:
    return vkey.partition("+")[0]


def _generation(history: KeyHistory) -> int:
    """Return how many keys the newest origin has had."""
    origin = _origin_of(history[-1][1])
    return sum(_origin_of(vkey) == origin for _, vkey in history)


class CheckpointSigner:
    """Signs one ledger's checkpoints. ``_newest`` is what this process knows to be remembered,
    of the ledger's newest epoch."""

    def __init__(
        self, database: Database, memory: SignerMemory, ledger: LedgerRow, keys: LogKeys
    ) -> None:
        self._database = database
        self._memory = memory
        self._ledger = ledger
        self._lock = threading.Lock()
        self._newest: Signed | None = None
        self.keys = keys
        self._sign = lru_cache(maxsize=256)(
            lambda checkpoint: sign_checkpoint(checkpoint, keys.at(checkpoint.size))
        )

    def check(self) -> None:
        """Raise :class:`ForkError` unless the database continues what was signed last."""
        # The memory first: the other way round, what a replica signs meanwhile looks like a fork.
        self._check(self._memory.recall(self._ledger.origin))
        later = _next_epoch(self._ledger.origin)
        signed = None if later is None else self._memory.recall(later)
        if later is not None and signed is not None:
            check_left(self._database, self._ledger, later, signed)

    def sign(self, size: int, root: bytes) -> bytes:
        """Return the signed note for a checkpoint that the database holds.

        Of an epoch that is over nothing is signed but what it agreed to keep: its memory stays.
        """
        origin = self.keys.at(size).name
        if self.keys.is_left(size):
            return self._sign(Checkpoint(origin, size, root))
        if origin != self._ledger.origin:
            raise ReadOnlyError(f"{origin} was opened under this process: restart it")
        with self._lock:
            if self._newest is None or self._newest.size < size:
                self._remember(Signed(size, root))
            if self._newest is not None and self._newest.size == size and self._newest.root != root:
                raise ForkError(f"size {size} was signed with another root", index=size - 1)
        return self._sign(Checkpoint(origin, size, root))

    def _remember(self, new: Signed) -> None:
        """Note a checkpoint durably. What others signed meanwhile must be in our database too."""
        while not self._memory.advance(self._ledger.origin, self._newest, new):
            newest = self._memory.recall(self._ledger.origin)
            self._check(newest)
            self._newest = newest
            if newest is not None and newest.size >= new.size:
                return
        self._newest = new

    def _check(self, signed: Signed | None) -> None:
        with self._database.read() as tx:
            head = store.read_head(tx, self._ledger.ledger_id)
        check_continues(self._database, self._ledger, head, signed)


def _next_epoch(origin: str) -> str | None:
    """Return the origin that an epoch opened after this one has; None if it can have none."""
    founded, number = ids.parse_epoch(origin)
    try:
        return ids.format_epoch(founded, number + 1)
    except MalformedError:
        return None


def check_continues(
    database: Database, ledger: LedgerRow, head: Head, signed: Signed | None
) -> None:
    """Raise :class:`ForkError` unless ``signed`` is a checkpoint of this database."""
    if signed is None:
        return
    if head.size < signed.size:
        raise ForkError(
            f"{ledger.origin}: the database ends at size {head.size}, but size {signed.size} "
            "was signed: it was restored from a backup or lost its newest entries",
            index=head.size,
        )
    # Recomputed from the tree: a row of checkpoints is easily written.
    with database.read() as tx:
        root = trees.read_tile_edge(tx, ledger.ledger_id, signed.size).frontier().root()
    if root != signed.root:
        raise ForkError(
            f"{ledger.origin}: the database has another root at size {signed.size} "
            "than the one that was signed: it is a fork",
            index=signed.size - 1,
        )


def check_left(database: Database, ledger: LedgerRow, origin: str, signed: Signed) -> None:
    """Raise :class:`ForkError` unless an epoch of the ledger left behind what was signed last.

    It did if its statement names just this checkpoint, or if this one is of what was kept.
    """
    with database.read() as tx:
        epochs = constitutions.read_epochs(tx, ledger.ledger_id)
        root = ids.format_digest(signed.root)
        if any(Known(origin, signed.size, root) in each.known for each in epochs):
            return
        left = [each.fork.size for each in epochs if each.old_origin == origin]
        if left and signed.size <= left[0]:
            edge = trees.read_tile_edge(tx, ledger.ledger_id, signed.size)
            if edge.frontier().root() == signed.root:
                return
    raise ForkError(
        f"{origin}: size {signed.size} was signed, and no epoch of this database says that it "
        "was left behind: the database was restored from a backup or lost its newest entries"
    )
