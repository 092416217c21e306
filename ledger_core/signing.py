"""Signs checkpoints, and only such as the database holds and the signer's memory allows.

Order: committed in the database, remembered durably outside of it, then signed. Ed25519 is
deterministic, so every replica gives the same bytes for the same checkpoint.
"""

from __future__ import annotations

import threading
from functools import lru_cache

from ledger_core.errors import ForkError
from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint
from ledger_core.formats.vkey import NoteSigner
from ledger_core.storage import store
from ledger_core.storage.database import Database
from ledger_core.storage.signer_memory import Signed, SignerMemory
from ledger_core.storage.store import Head, LedgerRow


class CheckpointSigner:
    """One ledger's log key. ``_newest`` is what this process knows to be remembered."""

    def __init__(
        self, database: Database, memory: SignerMemory, ledger: LedgerRow, key: NoteSigner
    ) -> None:
        self._database = database
        self._memory = memory
        self._ledger = ledger
        self._lock = threading.Lock()
        self._newest: Signed | None = None
        self.key = key.public
        self._sign = lru_cache(maxsize=256)(lambda checkpoint: sign_checkpoint(checkpoint, key))

    def check(self) -> None:
        """Raise :class:`ForkError` unless the database continues what was signed last."""
        # The memory first: the other way round, what a replica signs meanwhile looks like a fork.
        self._check(self._memory.recall(self._ledger.origin))

    def sign(self, size: int, root: bytes) -> bytes:
        """Return the signed note for a checkpoint that the database holds."""
        with self._lock:
            if self._newest is None or self._newest.size < size:
                self._remember(Signed(size, root))
            if self._newest is not None and self._newest.size == size and self._newest.root != root:
                raise ForkError(f"size {size} was signed with another root", index=size - 1)
        return self._sign(Checkpoint(self._ledger.origin, size, root))

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
        root = store.read_tile_edge(tx, ledger.ledger_id, signed.size).frontier().root()
    if root != signed.root:
        raise ForkError(
            f"{ledger.origin}: the database has another root at size {signed.size} "
            "than the one that was signed: it is a fork",
            index=signed.size - 1,
        )
