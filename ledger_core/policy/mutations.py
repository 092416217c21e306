"""What the mutation register says of a change: the same for who exports and who verifies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ledger_core.formats.mutations import Mutation, Status, What
from ledger_core.policy.act import Act
from ledger_core.policy.changes import Amendment, Change, read_change
from ledger_core.policy.proposals import Proposal
from ledger_core.records.types.erasure import ERASURE_1, Erasure
from ledger_core.records.types.erasure_done import ERASURE_DONE_1, ErasureDone
from ledger_core.records.types.hold import HOLD_1, Hold
from ledger_core.records.types.outcome import Verdict
from ledger_core.records.types.redaction import REDACTION_1, Redact
from ledger_core.records.types.refusal import REFUSAL_1, Refusal
from ledger_core.records.types.retention import RETENTION_1, Retention
from ledger_core.records.types.rollback import ROLLBACK_1, Rollback

_LISTED = (ROLLBACK_1, REDACTION_1, HOLD_1, ERASURE_1, RETENTION_1, ERASURE_DONE_1, REFUSAL_1)
_LISTED_NAMES = frozenset(kind.name for kind in _LISTED)

Find = Callable[[str], int | None]
"""Gives the index of the entry with a leaf hash (a digest), if it is known."""


def is_listed(type_name: str) -> bool:
    """Say whether entries of this type are changes, or tell of changes, whatever they name."""
    return type_name in _LISTED_NAMES


def list_mutations(act: Act, proposal: Proposal | None, agreed: int, find: Find) -> list[Mutation]:
    """Return the lines of one change; ``proposal``: what became of it, if it had to wait.

    ``agreed``: how many voters agreed to it, or to the bundle it is in.
    """
    change = read_change(act.kind, act.payload, act.amends)
    if change is None:
        return [_tell(act, find)]
    what, detail = _describe(change)
    status, since = _stand(act, proposal)
    return [
        Mutation(act.index, what, find(target), parts, act.author, status, since, agreed, detail)
        for target, parts in _targets(change)
    ]


def as_of(proposal: Proposal, is_shown: Callable[[int], bool]) -> Proposal:
    """Return a proposal as those know it to whom not every entry is shown."""
    voices = tuple(voice for voice in proposal.voices if is_shown(voice.index))
    if proposal.outcome is None or is_shown(proposal.outcome):
        return replace(proposal, voices=voices)
    return replace(proposal, voices=voices, outcome=None, verdict=None)


def _tell(act: Act, find: Find) -> Mutation:
    """Return the line of an entry that tells of a change, or is the schedule's."""
    at = act.index
    match act.payload["body"]:
        case Retention() as order:
            told = f"{order.type} before {order.received_before}"
            parts = (order.part,)
            return Mutation(at, "retention", None, parts, act.author, "in-force", at, 0, told)
        case ErasureDone() as done:
            order_at, told = find(done.order), f"{done.parts} parts"
            return Mutation(at, "erasure.done", order_at, (), act.author, "in-force", at, 0, told)
        case Refusal() as refusal:
            told = f"{refusal.code} {refusal.type}"
            return Mutation(at, "refusal", None, (), refusal.author, "refused", detail=told)
        case _:
            raise AssertionError(f"{act.kind.name} is no change")


def _stand(act: Act, proposal: Proposal | None) -> tuple[Status, int | None]:
    if proposal is None:
        return "in-force", act.index
    if proposal.verdict is None:
        return "waiting", None
    return _ENDED[proposal.verdict], proposal.outcome


_ENDED: dict[Verdict, Status] = {
    "confirmed": "in-force",
    "rejected": "rejected",
    "withdrawn": "withdrawn",
    "expired": "expired",
}


def _describe(change: Change) -> tuple[What, str]:
    match change:
        case Amendment():
            return "amendment", ""
        case Rollback():
            return "rollback", f"to {change.to}"
        case Hold():
            return change.action, change.case
        case Erasure():
            return "erasure", change.reason
        case Redact():
            return "redact", " ".join(change.visible_to)
        case _:
            return "unredact", ""


def _targets(change: Change) -> Iterator[tuple[str, tuple[str, ...]]]:
    match change:
        case Amendment(head):
            yield head, ()
        case Rollback() | Hold():
            yield from ((target, ()) for target in change.targets)
        case _:
            yield from ((each.entry, each.parts) for each in change.targets)
