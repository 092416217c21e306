"""The anchorer makes the roots of closed local ledgers entries of their parents.

::

    closing takes effect -> row in ``closings``, same transaction
    -> anchor/1 appended to the parent -> row says where

Exactly once: the anchor's bytes follow from what it says, so it has one record id, and whoever
appends it a second time, after a crash or in another process, gets the place of the first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger_core import ids
from ledger_core.clock import Clock
from ledger_core.errors import (
    ClosedError,
    IntegrityError,
    LedgerGridError,
    NotFoundError,
    StorageError,
)
from ledger_core.fail_points import reach
from ledger_core.formats.checkpoint import parse_checkpoint
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.note import parse_note
from ledger_core.ledger import Ledger
from ledger_core.policy.anchoring import AnchoredReceipt, format_anchored
from ledger_core.records.types.anchor import Anchor
from ledger_core.sequencer import Appended
from ledger_core.storage import catalogue, closings
from ledger_core.storage.catalogue import LedgerRow
from ledger_core.storage.closings import Closing
from ledger_core.storage.database import Database, Transaction

_AT_ONCE = 200
_AGAIN_MS = 60_000


@dataclass(frozen=True)
class _Due:
    """A closed ledger, what its anchor says, and since when it is due."""

    ledger_id: int
    anchor: Anchor
    since: int


class Anchorer:
    """``get`` opens a ledger of the service by name. One thread at a time anchors."""

    def __init__(self, database: Database, get: Callable[[str], Ledger], clock: Clock) -> None:
        self._database = database
        self._get = get
        self._clock = clock
        self._lock = threading.Lock()

    def anchor_due(self) -> LedgerGridError | None:
        """Anchor what is due, by parent; return what kept some of it from being anchored."""
        failure: LedgerGridError | None = None
        try:
            with self._lock:
                with self._database.read() as tx:
                    closed = closings.read_due(tx, self._clock(), _AT_ONCE)
                by_parent: dict[LedgerRow, list[_Due]] = {}
                for row, size in closed:
                    failure = self._prepare(row, size, by_parent) or failure
                for parent, due in by_parent.items():
                    failure = self._anchor(parent, due) or failure
        except LedgerGridError as error:
            return error
        return failure

    def _prepare(
        self, row: LedgerRow, size: int, by_parent: dict[LedgerRow, list[_Due]]
    ) -> LedgerGridError | None:
        """Find a closed ledger's parent, and what is to be said there."""
        try:
            local = self._get(row.name)
            parent = self._find_parent(local)
            due = _describe(local, row.ledger_id, size)
        except StorageError:
            raise
        except LedgerGridError as error:
            self._postpone(row.ledger_id, error)
            return None if isinstance(error, NotFoundError) else error
        else:
            by_parent.setdefault(parent, []).append(due)
        return None

    def _find_parent(self, local: Ledger) -> LedgerRow:
        """Return the parent; :class:`NotFoundError` if it is not of this service."""
        named = local.charter_body().parent
        if named is None:
            raise IntegrityError(f"{local.name} is closed and has no parent", index=0)
        with self._database.read() as tx:
            found = catalogue.find_origin(tx, named.origin)
        if found is None or ids.format_digest(found.charter) != named.charter:
            raise NotFoundError("its parent is not a ledger of this service")
        return found

    def _anchor(self, parent: LedgerRow, due: Sequence[_Due]) -> LedgerGridError | None:
        reach("anchorer.before-anchor")
        anchors = [(each.anchor, each.since) for each in due]
        outcomes = self._get(parent.name).append_anchors(anchors)
        reach("anchorer.anchored")
        failure: LedgerGridError | None = None
        with self._database.write() as tx:
            for each, outcome in zip(due, outcomes, strict=True):
                if isinstance(outcome, Appended):
                    closings.note_anchored(tx, each.ledger_id, parent.ledger_id, outcome.index)
                else:
                    self._note_refusal(tx, each.ledger_id, outcome)
                    failure = outcome
        reach("anchorer.noted")
        return failure

    def _postpone(self, ledger_id: int, error: LedgerGridError) -> None:
        with self._database.write() as tx:
            self._note_refusal(tx, ledger_id, error)

    def _note_refusal(self, tx: Transaction, ledger_id: int, error: LedgerGridError) -> None:
        """Note why a ledger is not anchored. What will not change is not tried again."""
        is_final = isinstance(error, NotFoundError | ClosedError)
        again = None if is_final else self._clock() + _AGAIN_MS
        closings.postpone(tx, ledger_id, again, f"{error.title}: {error}")

    # --- proving -----------------------------------------------------------------

    def find_parent(self, closing: Closing) -> str:
        """Return the name of the ledger that a closed one is anchored in."""
        if closing.parent is None:
            raise NotFoundError("this ledger is not anchored")
        with self._database.read() as tx:
            return catalogue.read_ledger_name(tx, closing.parent)

    def prove(self, local: Ledger, index: int) -> bytes:
        """Return an entry's anchored receipt; :class:`NotFoundError` before it is anchored."""
        closing = local.closing()
        if closing is None or closing.anchor is None:
            raise NotFoundError("this ledger is not anchored, or not yet")
        parent = self._get(self.find_parent(closing))
        anchor = parent.entry(closing.anchor)
        return format_anchored(
            AnchoredReceipt(
                local=local.receipt(index, closing.size),
                charter=local.prove_inclusion(0, closing.size).hashes,
                record=parse_entry(anchor.leaf).record,
                body=anchor.parts["body"],
                parent=parent.receipt(closing.anchor),
            )
        )


def _describe(local: Ledger, ledger_id: int, size: int) -> _Due:
    """Say what a closed ledger came to; its root is recomputed from its tree."""
    final = parse_checkpoint(parse_note(local.checkpoint()).text)
    if final.size != size:
        raise IntegrityError(f"{local.name} was closed at size {size}, it has {final.size}")
    charter, root = ids.format_digest(local.charter), ids.format_digest(final.root)
    since = parse_entry(local.entry(size - 1).leaf).header.received_at
    return _Due(ledger_id, Anchor(final.origin, charter, size, root), since)
