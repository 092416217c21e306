"""START HERE. A ledger: append records, and export them; readable.py reads and proves them.

::

    submission --admit--> admitted record --sequence--> entry, leaf, checkpoint --> receipt

Writing goes through ``admit`` (what can be said of a record alone) and ``sequence`` (what
needs the ledger, in one transaction). Everything else reads. The whole way of a record is
told in docs/life-of-a-record.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from ledger_core import ids
from ledger_core.admission import Admitted, admit
from ledger_core.clock import Clock
from ledger_core.constitutions import ConstitutionReader
from ledger_core.errors import (
    ForbiddenError,
    IntegrityError,
    LedgerGridError,
)
from ledger_core.exporter import Exporter
from ledger_core.follower import Follower
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import parse_record
from ledger_core.formats.submission import Submission, parse_submission, seal_json
from ledger_core.payloads import Payloads
from ledger_core.policy.anchoring import seal_anchor
from ledger_core.policy.assembly import outcome_of
from ledger_core.policy.erasing import seal_done
from ledger_core.policy.proposals import Ruling
from ledger_core.policy.visibility import OPERATOR, Reader
from ledger_core.prover import Prover
from ledger_core.readable import ReadableLedger
from ledger_core.records.types.anchor import Anchor
from ledger_core.records.types.erasure_done import ErasureDone
from ledger_core.records.types.log_key import LOG_KEY_1
from ledger_core.records.types.outcome import OUTCOME_1
from ledger_core.sequencer import Appended, Commit, Outcome, Sequencer
from ledger_core.signing import CheckpointSigner
from ledger_core.storage import store
from ledger_core.storage.catalogue import LedgerRow
from ledger_core.storage.database import Database
from ledger_core.storage.views import Views
from ledger_core.witnessed import Witnessed

_WITNESSES_S = 5.0
_LOOK_S = 0.05


class Ledger(ReadableLedger):
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
        prover = Prover(row.ledger_id, signer)
        self._sequencer = Sequencer(
            database,
            row,
            signer,
            prover,
            operator,
            clock,
            payloads,
            lambda appended: follower.hand_over(row.ledger_id, appended),
        )
        super().__init__(
            row,
            database,
            views,
            follower,
            signer,
            prover,
            witnessed,
            constitution,
            payloads,
            self._sequencer.degrade,
        )
        self._operator = operator
        self._clock = clock

    @property
    def operator(self) -> str:
        """The service's own key in this ledger, as ``ed25519:…``."""
        return ids.format_key(self._operator.public_key)

    # --- writing -----------------------------------------------------------------

    def admit(self, raw: bytes) -> Admitted:
        """Parse and check one submission as JSON; touches no storage."""
        return admit(parse_submission(raw), *self._row.origins)

    def sequence(self, admitted: Sequence[Admitted]) -> list[Outcome]:
        """Give admitted records their places in one transaction; one outcome each."""
        if not admitted:
            return []
        return self.acknowledge(self.commit(admitted), range(len(admitted)))

    def commit(self, admitted: Sequence[Admitted]) -> Commit:
        """Give admitted records their places, durably; the next batch may begin on return."""
        commit = self._sequencer.commit(admitted)
        if commit.is_grown:
            self._follower.ring(self._row.ledger_id, commit.growth.size)
        return commit

    def acknowledge(self, commit: Commit, numbers: Iterable[int]) -> list[Outcome]:
        """Sign what was committed; return the outcomes of those of its records."""
        return self._sequencer.acknowledge(commit, numbers)

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
        return self.append_sealed(
            lambda origin, key: seal_json(origin, type_name, body, key, self._clock())
        )

    def append_sealed(self, seal: Callable[[str, PrivateKey], Submission]) -> Appended:
        """Append what ``seal`` makes of the ledger's origin and the service's own operator key."""
        outcome = self.append([seal(self.origin, self._operator)])[0]
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
        return self.append_sealed(lambda origin, key: seal_done(origin, done, at_ms, key))

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

    def expire(self, leaf_hash: bytes) -> None:
        """End a proposal whose time is up; :class:`StandingError` if it has ended already."""
        outcome = outcome_of(self.proposal(leaf_hash), Ruling("expired", "time"))
        self.append_as_operator(OUTCOME_1.name, msgspec.json.encode(outcome))
