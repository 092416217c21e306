"""Which checkpoints of our ledgers are witnessed: cosigned by a quorum of the witnesses asked.

The service's witness policy (formats/trust_policy.py) says what suffices. Lines were verified
before they were stored (witnessing.py); here they are only handed out, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ledger_core.clock import Clock
from ledger_core.errors import IntegrityError, NotFoundError
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.trust_policy import NO_QUORUM, TrustPolicy, quorum_digest
from ledger_core.formats.vkey import format_vkey, key_digest
from ledger_core.storage import cosignatures, store, trees
from ledger_core.storage.cosignatures import NO_LEDGER, Trouble
from ledger_core.storage.database import Transaction
from ledger_core.storage.store import Head

LATE_MS = 60_000


@dataclass(frozen=True)
class WitnessState:
    """How far one witness is with one ledger; ``error`` is what keeps it, and since when (ms)."""

    name: str
    vkey: str
    size: int
    cosigned_at_s: int | None
    error: str | None
    error_since: int | None


@dataclass(frozen=True)
class Status:
    """Where a ledger stands with its witnesses.

    ``witnessed`` is the largest size that has its quorum, None if none is asked for.
    ``not_witnessed_since`` (ms) is when the first entry beyond it was received, once that is
    longer ago than it should be.
    """

    size: int
    witnessed: int | None
    not_witnessed_since: int | None
    witnesses: tuple[WitnessState, ...]


class Witnessed:
    """A service's witness policy, and what is stored that meets it."""

    def __init__(self, policy: TrustPolicy | None, clock: Clock, late_ms: int = LATE_MS) -> None:
        self._policy = policy or TrustPolicy(quorum=NO_QUORUM)
        self._clock = clock
        self._late_ms = late_ms
        self._by_digest = {key_digest(key): key for key in self._policy.witnesses.values()}
        self.asks = bool(self._by_digest)
        self.has_quorum = self._policy.quorum != NO_QUORUM
        self.digest = quorum_digest(self._policy)

    def is_met_by(self, witnesses: Iterable[bytes]) -> bool:
        """Say whether these witnesses, by digest, make the quorum that is asked for."""
        known = {self._by_digest[each] for each in witnesses if each in self._by_digest}
        return self.has_quorum and self._policy.is_met_by(known)

    def lines(self, tx: Transaction, ledger_id: int, size: int) -> bytes:
        """Return the cosignatures on the checkpoint of ``size``, as they follow the log's line."""
        return cosignatures.read_lines(tx, ledger_id, size) if self.asks else b""

    def find(self, tx: Transaction, ledger_id: int, at_least: int) -> int | None:
        """Return the smallest witnessed size that is not below ``at_least``."""
        if not self.has_quorum:
            return None
        return cosignatures.find_witnessed(tx, ledger_id, self.digest, at_least)

    def newest(self, tx: Transaction, ledger_id: int) -> int | None:
        """Return the largest witnessed size."""
        if not self.has_quorum:
            return None
        return cosignatures.newest_witnessed(tx, ledger_id, self.digest)

    def newest_head(self, tx: Transaction, ledger_id: int, head: Head) -> Head:
        """Return the head as it was at the newest witnessed size; :class:`NotFoundError` if none.

        ``head`` is the present one, whose last leaf and time stay in it.
        """
        size = self.newest(tx, ledger_id)
        root = None if size is None else trees.find_checkpoint(tx, ledger_id, size)
        if size is None or root is None:
            raise NotFoundError("no checkpoint of this ledger is witnessed yet")
        return replace(head, size=size, root=root)

    def status(self, tx: Transaction, ledger_id: int) -> Status:
        size = store.read_head(tx, ledger_id).size
        witnessed = (self.newest(tx, ledger_id) or 0) if self.has_quorum else None
        since = self._not_witnessed_since(tx, ledger_id, size, witnessed)
        troubles = cosignatures.read_errors(tx, ledger_id) if self.asks else []
        states = tuple(self._state(tx, ledger_id, name, troubles) for name in self._names())
        return Status(size, witnessed, since, states)

    def _names(self) -> list[str]:
        return sorted(self._policy.witnesses)

    def _state(
        self, tx: Transaction, ledger_id: int, name: str, troubles: list[Trouble]
    ) -> WitnessState:
        key = self._policy.witnesses[name]
        digest = key_digest(key)
        newest = cosignatures.read_newest(tx, ledger_id, digest)
        mine = [each for each in troubles if each.witness == digest]
        # What it said of this very ledger tells more than that it does not answer at all.
        trouble = max(mine, key=lambda each: each.ledger_id != NO_LEDGER, default=None)
        return WitnessState(
            name=name,
            vkey=format_vkey(key),
            size=newest.size if newest else 0,
            cosigned_at_s=newest.cosigned_at if newest else None,
            error=trouble.error if trouble else None,
            error_since=trouble.since if trouble else None,
        )

    def _not_witnessed_since(
        self, tx: Transaction, ledger_id: int, size: int, witnessed: int | None
    ) -> int | None:
        if witnessed is None or witnessed >= size:
            return None
        leaves = store.read_leaves(tx, ledger_id, witnessed, witnessed + 1)
        if not leaves:
            raise IntegrityError(f"entry {witnessed} is gone", index=witnessed)
        since = parse_entry(leaves[0]).header.received_at
        return since if self._clock() - since > self._late_ms else None
