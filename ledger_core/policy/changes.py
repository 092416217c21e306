"""Changes: who may ask for which, whose agreement it takes, and what it makes of its targets.

Who may ask is a ``mutability/1``'s to say, whose agreement it takes a policy's. What a change
makes of an entry is its effect (effects.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from ledger_core import clock, ids, limits
from ledger_core.errors import HeadMovedError, PayloadError, StandingError
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.record import Ref
from ledger_core.formats.submission import Submission, seal_repeatably
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect, Gone, Holding, Move, Veil
from ledger_core.records.model import Payload, RecordType
from ledger_core.records.registry import find_type
from ledger_core.records.rules import AMENDS, MutabilitySetting, Policy
from ledger_core.records.types.erasure import ERASURE_1, Erasure
from ledger_core.records.types.erasure_done import ERASURE_DONE_1, ErasureDone
from ledger_core.records.types.hold import HOLD_1, Hold
from ledger_core.records.types.redaction import REDACTION_1, Redact, Unredact
from ledger_core.records.types.refusal import REFUSAL_1, Refusal
from ledger_core.records.types.retention import Retention
from ledger_core.records.types.rollback import ROLLBACK_1, Rollback

_CHANGING = frozenset({ROLLBACK_1, REDACTION_1, HOLD_1, ERASURE_1})
_INDEPENDENT = ("consortium", "local")
"""Kinds whose members do not trust each other, nor the operator."""


@dataclass(frozen=True)
class Amendment:
    """The record that says so is to be the version after ``head`` (leaf hash)."""

    head: str


Change = Amendment | Rollback | Redact | Unredact | Hold | Erasure


def amended_by(kind: RecordType, refs: Iterable[Ref]) -> str | None:
    """Return the leaf hash of the version that a record amends, if it does."""
    amended = [ref.to for ref in refs if ref.rel == "amends"]
    if len(amended) > 1:
        raise PayloadError("a record amends one other")
    if amended and kind.is_governance:
        raise PayloadError(f"{kind.name} is governance, which is never amended")
    return amended[0] if amended else None


def read_change(kind: RecordType, payload: Payload, amends: str | None) -> Change | None:
    """Return the change that a record asks for, if it does."""
    if amends is not None:
        return Amendment(amends)
    if kind in _CHANGING:
        change: Change = payload["body"]
        return change
    return None


def topic_of(change: Change) -> str:
    """Return what policies call this kind of change."""
    match change:
        case Amendment():
            return AMENDS
        case Rollback():
            return ROLLBACK_1.name
        case Hold():
            return HOLD_1.name
        case Erasure():
            return ERASURE_1.name
        case _:
            return REDACTION_1.name


def named_by(change: Change) -> tuple[str, ...]:
    """Return the leaf hashes of the entries that a change names."""
    match change:
        case Amendment(head):
            return (head,)
        case Rollback() | Hold():
            return change.targets
        case _:
            return tuple(each.entry for each in change.targets)


def named_entries(kind: RecordType, payload: Payload, amends: str | None) -> tuple[bytes, ...]:
    """Return the leaf hashes of entries whose effect must be known to judge a record."""
    change = read_change(kind, payload, amends)
    if change is not None:
        return tuple(map(ids.parse_digest, named_by(change)))
    if kind is ERASURE_DONE_1:
        done: ErasureDone = payload["body"]
        return (ids.parse_digest(done.order),)
    return ()


# --- may it be asked for? ----------------------------------------------------------


def policy_over(
    constitution: Constitution, change: Change, targets: Sequence[Effect]
) -> Policy | None:
    """Return the policy that a change waits under; raise if its targets have different ones."""
    topic = topic_of(change)
    found = {constitution.policy_over(topic, target.type) for target in targets}
    if len(found) != 1:
        raise StandingError("these entries have different policies: change them one by one")
    policy_hash = found.pop()
    return None if policy_hash is None else constitution.policies[policy_hash]


def check_right(
    constitution: Constitution,
    change: Change,
    targets: Sequence[Effect],
    author: str,
    index: int,
    policy: Policy | None,
) -> None:
    """Raise :class:`StandingError` unless this author may ask for this change."""
    for target in targets:
        setting = check_mutable(constitution, change, target, index)
        if not any(
            _is_one(constitution, who, author, target, index) for who in _those(setting, change)
        ):
            raise StandingError(f"{topic_of(change)} of {target.type} is not this author's to ask")
        is_alone = policy is None and constitution.kind in _INDEPENDENT
        if is_alone and not _is_own(constitution, author, target):
            raise StandingError("without a policy nobody here changes what others wrote")


def check_mutable(
    constitution: Constitution, change: Change, target: Effect, index: int
) -> MutabilitySetting:
    """Raise :class:`StandingError` unless somebody may ask for this change at ``index``."""
    if find_type(target.type).is_governance:
        raise StandingError(f"{target.type} is governance, of which nothing changes")
    setting = constitution.mutability_at(target.type, index)
    if not _those(setting, change):
        raise StandingError(f"{target.type} is immutable here: no {topic_of(change)}")
    return setting


def _those(setting: MutabilitySetting, change: Change) -> tuple[str, ...]:
    match change:
        case Amendment():
            return setting.amend
        case Rollback():
            return setting.roll_back
        case Hold():
            return setting.hold
        case Erasure():
            return setting.erase
        case _:
            return setting.redact


def _is_one(constitution: Constitution, who: str, author: str, target: Effect, index: int) -> bool:
    key = constitution.keys[author]
    match who:
        case "author":
            return author == target.author
        case "member":
            return _is_own(constitution, author, target)
        case "operator" | "steward":
            return who in key.roles
        case _:
            member = constitution.members.get(key.member or "")
            return member is not None and who.removeprefix("role:") in member.roles_at(index)


def _is_own(constitution: Constitution, author: str, target: Effect) -> bool:
    """Say whether the target is this author's, or its member's."""
    member, wrote = constitution.keys[author].member, constitution.keys.get(target.author)
    return author == target.author or (
        member is not None and wrote is not None and wrote.member == member
    )


def check_retention(constitution: Constitution, order: Retention, now_ms: int, index: int) -> None:
    """Raise :class:`StandingError` unless the schedule in force says what is to go."""
    if find_type(order.type).is_governance:
        raise StandingError(f"{order.type} is governance, of which nothing is erased")
    keep_s = constitution.mutability_at(order.type, index).keep_s.get(order.part)
    if keep_s is None:
        raise StandingError(f"nothing says how long {order.part} of {order.type} is kept")
    before = clock.parse_time(order.received_before)
    if before > now_ms - keep_s * 1000:
        raise StandingError(f"{order.part} of {order.type} is kept for {keep_s} seconds")
    earlier = constitution.retentions.get((order.type, order.part), ())
    if earlier and earlier[-1][1] >= before:
        raise StandingError("an earlier order reached as far")


# --- taking effect -----------------------------------------------------------------


def apply(
    change: Change,
    targets: Sequence[Effect],
    sinces: Mapping[bytes, int | None],
    by: bytes,
    at: int,
) -> list[Effect]:
    """Return the targets as the change leaves them; raise :class:`StandingError` if it cannot.

    ``sinces``: where each target took effect itself, if it did. ``by``: the change's leaf hash.
    What took effect at ``at`` itself, as one of a bundle, came before it.
    """
    moved = list(_move(change, targets, sinces, by, at))
    if all(old == new for old, new in zip(targets, moved, strict=True)):
        raise StandingError("they all stand like that already")
    if _begins(change):
        for effect in moved:
            if effect.changes > limits.CHANGES_OF_AN_ENTRY:
                raise StandingError(f"entry {effect.index} was changed too often")
    return moved


def _begins(change: Change) -> bool:
    """Say whether a change may be made for ever; what ends one can always be, and erasure."""
    match change:
        case Hold(action="release") | Unredact() | Erasure():
            return False
        case _:
            return True


def _move(
    change: Change,
    targets: Sequence[Effect],
    sinces: Mapping[bytes, int | None],
    by: bytes,
    at: int,
) -> Iterator[Effect]:
    if isinstance(change, Rollback) and change.to >= at:
        raise StandingError("a rollback goes back")
    for place, target in enumerate(targets):
        match change:
            case Amendment(head):
                yield _amend(target, sinces, head, by, at)
            case Rollback(to=to):
                yield _roll_back(target, sinces, to, by, at)
            case Hold():
                yield _hold(target, change, by, at)
            case Erasure():
                yield _erase(target, change.targets[place].parts, by, at)
            case Redact():
                roles = frozenset(change.visible_to)
                yield _veil(target, change.targets[place].parts, roles, by, at)
            case Unredact():
                yield _veil(target, change.targets[place].parts, None, by, at)


def _amend(
    target: Effect, sinces: Mapping[bytes, int | None], head: str, by: bytes, at: int
) -> Effect:
    current = ids.format_digest(target.head)
    if head != current:
        raise HeadMovedError(f"the current version is {current}", head=current)
    if not target.moves and sinces[target.leaf_hash] is None:
        raise StandingError(f"entry {target.index} has not taken effect: nothing to amend")
    return replace(target, moves=(*target.moves, Move(at, by, by)))


def _roll_back(
    target: Effect, sinces: Mapping[bytes, int | None], to: int, by: bytes, at: int
) -> Effect:
    if target.original is not None:
        raise StandingError("a rollback names first versions, not amendments")
    since = sinces[target.leaf_hash]
    then, now = target.version_at(since, to), target.version_at(since, at + 1)
    if then == now:
        return target
    return replace(target, moves=(*target.moves, Move(at, then, by)))


def _hold(target: Effect, change: Hold, by: bytes, at: int) -> Effect:
    is_held = change.action == "hold"
    if (change.case in target.cases_at(at + 1)) == is_held:
        raise StandingError(f"entry {target.index}: {change.case} holds it already, or does not")
    holding = Holding(at, change.case, is_held, by)
    return replace(target, holdings=(*target.holdings, holding))


def _erase(target: Effect, parts: Iterable[str], by: bytes, at: int) -> Effect:
    cases = target.cases_at(at + 1)
    if cases:
        raise StandingError(f"entry {target.index} is held by {', '.join(sorted(cases))}")
    erased = target.erased_at(at + 1)
    for part in parts:
        _check_part(target, part)
        if part in erased:
            raise StandingError(f"{part} of entry {target.index} is erased already")
    gone = tuple(Gone(at, part, by) for part in parts)
    return replace(target, erasures=(*target.erasures, *gone))


def _veil(
    target: Effect, parts: Iterable[str], roles: frozenset[str] | None, by: bytes, at: int
) -> Effect:
    hidden = target.veils_at(at + 1)
    veils: list[Veil] = []
    for part in parts:
        _check_part(target, part)
        if roles is None and part not in hidden:
            raise StandingError(f"{part} of entry {target.index} is not redacted")
        if roles is None or part not in hidden or hidden[part].visible_to != roles:
            veils.append(Veil(at, part, roles, by))
    return replace(target, veils=(*target.veils, *veils))


def _check_part(target: Effect, part: str) -> None:
    """Nobody shall believe a part gone, or hidden, because its name was misspelt."""
    if part not in target.parts:
        raise StandingError(f"entry {target.index} has no part {part}")


# --- refusals ------------------------------------------------------------------------

_SEED_TAG = b"ledgergrid/refusal-seed@v1\n"


def seal_refusal(origin: str, refusal: Refusal, made_at: str, operator: PrivateKey) -> Submission:
    """Seal the ``refusal/1`` of a change that was made at ``made_at``.

    Its id follows from the change and nothing else: whoever tries again finds the first.
    """
    body = msgspec.json.encode(refusal)
    seed = _SEED_TAG + origin.encode() + b"\n" + refusal.record.encode()
    at_ms = clock.parse_time(made_at)
    return seal_repeatably(origin, REFUSAL_1.name, body, operator, at_ms, seed)
