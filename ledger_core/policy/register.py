"""The register: which entries change others, and which they name.

Beside the changes themselves it holds what belongs to them: that an erasure is done, and what
was refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ledger_core import ids
from ledger_core.formats.record import Ref
from ledger_core.policy.changes import Amendment, amended_by, named_by, read_change
from ledger_core.records.model import Payload, RecordType
from ledger_core.records.types.erasure import ERASURE_1
from ledger_core.records.types.erasure_done import ERASURE_DONE_1, ErasureDone
from ledger_core.records.types.hold import HOLD_1
from ledger_core.records.types.redaction import REDACTION_1
from ledger_core.records.types.refusal import REFUSAL_1
from ledger_core.records.types.retention import RETENTION_1
from ledger_core.records.types.rollback import ROLLBACK_1

ChangeKind = Literal[
    "amendment", "rollback", "redaction", "hold", "erasure", "retention", "done", "refusal"
]
_KINDS: dict[str, ChangeKind] = {
    ROLLBACK_1.name: "rollback",
    REDACTION_1.name: "redaction",
    HOLD_1.name: "hold",
    ERASURE_1.name: "erasure",
    RETENTION_1.name: "retention",
    ERASURE_DONE_1.name: "done",
    REFUSAL_1.name: "refusal",
}
REGISTERED = frozenset(_KINDS)
"""The types, all of them governance, whose every entry is in the register."""


@dataclass(frozen=True)
class Registered:
    """A place in the register. ``targets``: leaf hashes; of ``done``, the order's."""

    kind: ChangeKind
    targets: tuple[bytes, ...] = ()


def register_of(kind: RecordType, payload: Payload, refs: Iterable[Ref]) -> Registered | None:
    """Return an entry's place in the register, if it has one; only governance needs a payload."""
    change = read_change(kind, payload, amended_by(kind, refs))
    if isinstance(change, Amendment):
        return Registered("amendment", (ids.parse_digest(change.head),))
    if change is not None:
        return Registered(_KINDS[kind.name], tuple(map(ids.parse_digest, named_by(change))))
    if kind is ERASURE_DONE_1:
        done: ErasureDone = payload["body"]
        return Registered("done", (ids.parse_digest(done.order),))
    return Registered(_KINDS[kind.name]) if kind.name in _KINDS else None
