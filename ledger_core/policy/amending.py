"""Changing the constitution: who may, whether it can be, and what it makes of it.

``check_authority`` asks when a change is appended; ``apply`` when it takes effect, which is at
once unless a policy governs it, and then at the outcome that confirms it. Between the two the
ledger may have moved on: what can no longer be applied raises, and is an outcome of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ledger_core import clock
from ledger_core.errors import StandingError
from ledger_core.policy import epochs
from ledger_core.policy.constitution import Constitution, KeyStanding, Member, Spell
from ledger_core.records.model import Payload, RecordType
from ledger_core.records.registry import ALL, find_type
from ledger_core.records.rules import AMENDS, EVERY_TYPE, MutabilitySetting, Policy, hash_policy
from ledger_core.records.types.audience import AUDIENCE_1, AudienceChange
from ledger_core.records.types.bundle import BUNDLE_1
from ledger_core.records.types.capture_limits import CAPTURE_LIMITS_1, CaptureLimits
from ledger_core.records.types.capture_stop import CAPTURE_STOP_1, CaptureStop
from ledger_core.records.types.charter import CHARTER_1, QUORUM_TYPES, Charter
from ledger_core.records.types.closing import CLOSING_1
from ledger_core.records.types.endorsement import ENDORSEMENT_1
from ledger_core.records.types.epoch import EPOCH_1, Epoch
from ledger_core.records.types.equivocation import EQUIVOCATION_1
from ledger_core.records.types.erasure_done import ERASURE_DONE_1
from ledger_core.records.types.key import KEY_1, Register, Revoke
from ledger_core.records.types.key_rotation import KEY_ROTATION_1, KeyRotation
from ledger_core.records.types.log_key import LOG_KEY_1, LogKeyChange
from ledger_core.records.types.member import (
    MEMBER_1,
    Admit,
    Grant,
    MemberChange,
    Remove,
    Resume,
    Suspend,
    Withdraw,
)
from ledger_core.records.types.mutability import MUTABILITY_1, MutabilityChange
from ledger_core.records.types.outcome import OUTCOME_1
from ledger_core.records.types.policy import POLICY_1, LiftPolicy, SetPolicy
from ledger_core.records.types.refusal import REFUSAL_1
from ledger_core.records.types.retention import RETENTION_1, Retention
from ledger_core.records.types.withdrawal import WITHDRAWAL_1

UNGOVERNABLE = frozenset(
    kind.name
    for kind in (
        CHARTER_1,
        KEY_ROTATION_1,
        LOG_KEY_1,
        ENDORSEMENT_1,
        WITHDRAWAL_1,
        BUNDLE_1,
        OUTCOME_1,
        EQUIVOCATION_1,
        RETENTION_1,
        ERASURE_DONE_1,
        REFUSAL_1,
    )
)
"""What must never wait for an agreement: agreeing itself, a key's way out, the service's duties."""

_AGREED = frozenset(
    kind.name
    for kind in (MEMBER_1, POLICY_1, AUDIENCE_1, MUTABILITY_1, CAPTURE_LIMITS_1, CAPTURE_STOP_1)
)
"""What more may propose than may decide alone."""

_INDEPENDENT = ("consortium", "local")
"""Kinds whose members do not trust each other, nor the operator."""


def policy_over(constitution: Constitution, kind: RecordType, payload: Payload) -> Policy | None:
    """Return the policy under which a record waits, or None if it takes effect at once.

    A policy is changed under the one in force for what it governs; where there is none, under
    the one for ``policy/1``, if there is one. Types for which that is not the same
    are changed one by one: those who agree on notes do not decide for members in passing.
    """
    if kind.name in UNGOVERNABLE or kind is EPOCH_1:
        return None  # An epoch brings the agreement that a policy asks for along.
    if kind is not POLICY_1:
        return constitution.policy_for(kind.name)
    changed = _changed_types(payload["body"])
    first, *others = {each for name in changed for each in _now_over(constitution, name)}
    if others:
        raise StandingError("these types have different policies: change them one by one")
    return None if first is None else constitution.policies[first]


def _now_over(constitution: Constitution, topic: str) -> set[bytes | None]:
    """Return the policies whose say a policy for this topic would take over; None: nobody's.

    What has none of its own may be under another all the same: amendments of notes under that
    for all amendments, or for notes.
    """
    governing = constitution.governing
    general = governing.get(POLICY_1.name)
    if topic in governing:
        return {governing[topic]}
    change, colon, type_name = topic.partition(":")
    if colon:
        return {constitution.policy_over(change, type_name) or general}
    if topic != AMENDS:
        return {general}
    types = {kind.name for kind in ALL if not kind.is_governance}
    return {general} | {
        governing[name] for name in types & governing.keys() if f"{AMENDS}:{name}" not in governing
    }


def _changed_types(change: SetPolicy | LiftPolicy) -> tuple[str, ...]:
    return change.policy.governs if isinstance(change, SetPolicy) else change.governs


# --- authority -------------------------------------------------------------------


def check_authority(
    constitution: Constitution,
    kind: RecordType,
    payload: Payload,
    author: str,
    policy: Policy | None,
) -> None:
    """Raise :class:`StandingError` unless this author may bring this change.

    ``policy`` is that of :func:`policy_over`: what others must agree to, more may propose.
    """
    if kind is KEY_1:
        _check_key_authority(constitution, payload["body"], author)
    elif kind is CLOSING_1:
        _check_closing_authority(constitution, author)
    elif kind.name in _AGREED and policy is None:
        _check_lone_authority(constitution, kind, author)


def _check_lone_authority(constitution: Constitution, kind: RecordType, author: str) -> None:
    """Ask who decides alone what no policy governs: an operator, where its members trust it."""
    if constitution.kind in _INDEPENDENT:
        raise StandingError(f"{kind.name} has no policy, and nobody decides it alone here")
    if "operator" not in constitution.keys[author].roles:
        raise StandingError(f"{kind.name} has no policy here: an operator writes it")


def _check_key_authority(
    constitution: Constitution, change: Register | Revoke, author: str
) -> None:
    own = constitution.keys[author]
    target = constitution.keys.get(change.key)
    if isinstance(change, Register):
        member = change.member
    else:
        member = target.member if target is not None else None
    if "steward" in own.roles and member is not None and own.member == member:
        return
    if "operator" in own.roles and (member is None or constitution.kind not in _INDEPENDENT):
        return
    whose = "no member" if member is None else member
    raise StandingError(f"a key of {whose} is not this author's to register or revoke")


def _check_closing_authority(constitution: Constitution, author: str) -> None:
    if constitution.kind != "local":
        raise StandingError("only a local ledger closes")
    own = constitution.keys[author]
    if "operator" not in own.roles and not {own.key, own.member} & constitution.parties:
        raise StandingError("a local ledger is closed by one of its parties or the operator")


# --- applying --------------------------------------------------------------------


def apply(
    constitution: Constitution, kind: RecordType, payload: Payload, author: str, at: int
) -> None:
    """Let a change take effect at index ``at``; raise :class:`StandingError` if it cannot."""
    change = _CHANGES.get(kind.name)
    if change is not None:
        change(constitution, payload["body"], author, at)


def _found(constitution: Constitution, charter: Charter, author: str, at: int) -> None:
    constitution.kind = charter.kind
    constitution.log_keys = ((at, charter.log_key),)
    constitution.origins = ((at, charter.origin),)
    constitution.parties = frozenset(charter.parties)
    for member in charter.members:
        spell = Spell(at, "admitted", frozenset(member.roles))
        constitution.members[member.name] = Member(member.name, (spell,))
    for key in charter.keys:
        roles = frozenset(key.roles)
        constitution.keys[key.key] = KeyStanding(key.key, roles, at, member=key.member)
    for policy in charter.policies:
        _set_policy(constitution, policy)
    for setting in charter.audiences:
        constitution.audiences[setting.type] = ((at, setting),)
    for mutability in charter.mutability:
        _put_mutability(constitution, mutability, at)


def _change_key(
    constitution: Constitution, change: Register | Revoke, author: str, at: int
) -> None:
    current = constitution.keys.get(change.key)
    if isinstance(change, Register):
        if current is not None:
            raise StandingError("this key was registered before; a revoked key stays revoked")
        if change.member is not None:
            _member(constitution, change.member)
        roles = frozenset(change.roles)
        constitution.keys[change.key] = KeyStanding(change.key, roles, at, member=change.member)
        return
    if current is None or current.revoked is not None:
        raise StandingError("only a key that stands can be revoked")
    if change.suspect_since is not None and change.suspect_since > at:
        raise StandingError("what a key will sign cannot be suspect yet")
    constitution.keys[change.key] = replace(current, revoked=at, suspect_since=change.suspect_since)


def _rotate_key(constitution: Constitution, change: KeyRotation, author: str, at: int) -> None:
    old = constitution.keys[author]
    if change.key in constitution.keys:
        raise StandingError("the successor was registered before")
    constitution.keys[author] = replace(old, revoked=at)
    constitution.keys[change.key] = KeyStanding(change.key, old.roles, at, member=old.member)


def _rotate_log_key(constitution: Constitution, change: LogKeyChange, author: str, at: int) -> None:
    if change.old != constitution.log_keys[-1][1]:
        raise StandingError("this is not the log's key now")
    if change.new in {vkey for _, vkey in constitution.log_keys}:
        raise StandingError("the log had this key before")
    constitution.log_keys = (*constitution.log_keys, (at, change.new))


def _open_epoch(constitution: Constitution, epoch: Epoch, author: str, at: int) -> None:
    epochs.check_epoch(constitution, epoch, author, at)
    statement = epoch.statement
    constitution.origins = (*constitution.origins, (at, statement.new_origin))
    constitution.log_keys = (*constitution.log_keys, (at, statement.log_key))


def _member(constitution: Constitution, name: str) -> Member:
    """Return a member that was admitted and not removed."""
    found = constitution.members.get(name)
    if found is None or found.now.status == "removed":
        raise StandingError(f"{name} is no member of this ledger")
    return found


def _change_member(constitution: Constitution, change: MemberChange, author: str, at: int) -> None:
    if isinstance(change, Admit):
        _admit(constitution, change, at)
        return
    found = _member(constitution, change.member)
    spell = found.now
    match change:
        case Suspend() if spell.status == "admitted":
            spell = Spell(at, "suspended", spell.roles)
        case Resume() if spell.status == "suspended":
            spell = Spell(at, "admitted", spell.roles)
        case Remove():
            spell = Spell(at, "removed", frozenset())
        case Grant() if change.role not in spell.roles:
            spell = Spell(at, spell.status, spell.roles | {change.role})
        case Withdraw() if change.role in spell.roles:
            spell = Spell(at, spell.status, spell.roles - {change.role})
        case _:
            raise StandingError(f"{change.member} stands like that already")
    constitution.members[found.name] = Member(found.name, (*found.spells, spell))


def _admit(constitution: Constitution, change: Admit, at: int) -> None:
    if change.member in constitution.members:
        raise StandingError(f"{change.member} was admitted before; a removed member stays removed")
    taken = [held.key for held in change.keys if held.key in constitution.keys]
    if taken:
        raise StandingError(f"{taken[0]} was registered before")
    spell = Spell(at, "admitted", frozenset(change.roles))
    constitution.members[change.member] = Member(change.member, (spell,))
    for held in change.keys:
        standing = KeyStanding(held.key, frozenset(held.roles), at, member=change.member)
        constitution.keys[held.key] = standing


def _change_policy(
    constitution: Constitution, change: SetPolicy | LiftPolicy, author: str, at: int
) -> None:
    changed = _changed_types(change)
    if forbidden := UNGOVERNABLE & set(changed):
        raise StandingError(f"{min(forbidden)} never waits for an agreement")
    if isinstance(change, SetPolicy):
        _set_policy(constitution, change.policy)
        return
    for name in changed:
        if constitution.kind == "consortium" and name in QUORUM_TYPES:
            raise StandingError(f"a consortium changes {name} by quorum, always")
        if name not in constitution.governing:
            raise StandingError(f"{name} has no policy to lift")
    for name in changed:
        del constitution.governing[name]


def _set_policy(constitution: Constitution, policy: Policy) -> None:
    if forbidden := UNGOVERNABLE & set(policy.governs):
        raise StandingError(f"{min(forbidden)} never waits for an agreement")
    policy_hash = hash_policy(policy)
    constitution.policies[policy_hash] = policy
    for name in policy.governs:
        constitution.governing[name] = policy_hash


def _set_audience(constitution: Constitution, change: AudienceChange, author: str, at: int) -> None:
    name = change.setting.type
    history = constitution.audiences.get(name, ())
    constitution.audiences[name] = (*history, (at, change.setting))


def _set_mutability(
    constitution: Constitution, change: MutabilityChange, author: str, at: int
) -> None:
    if constitution.mutability_at(change.setting.type, at + 1).for_ever:
        raise StandingError(f"the mutability of {change.setting.type} was set for ever")
    _put_mutability(constitution, change.setting, at)


def _put_mutability(constitution: Constitution, setting: MutabilitySetting, at: int) -> None:
    if setting.type != EVERY_TYPE and find_type(setting.type).is_governance:
        raise StandingError(f"{setting.type} is governance, of which nothing changes")
    history = constitution.mutability.get(setting.type, ())
    constitution.mutability[setting.type] = (*history, (at, setting))


def _retire(constitution: Constitution, order: Retention, author: str, at: int) -> None:
    name = (order.type, order.part)
    orders = constitution.retentions.get(name, ())
    constitution.retentions[name] = (*orders, (at, clock.parse_time(order.received_before)))


def _limit_calls(constitution: Constitution, limits: CaptureLimits, author: str, at: int) -> None:
    constitution.capture = replace(constitution.capture, limits=limits, limits_since=at)


def _stop_calls(constitution: Constitution, change: CaptureStop, author: str, at: int) -> None:
    is_stopped = constitution.capture.stopped_since is not None
    if is_stopped == (change.action == "stop"):
        raise StandingError(f"calls {'are stopped already' if is_stopped else 'are not stopped'}")
    since, reason = (at, change.reason) if change.action == "stop" else (None, "")
    constitution.capture = replace(constitution.capture, stopped_since=since, reason=reason)


def _close(constitution: Constitution, change: Any, author: str, at: int) -> None:
    if constitution.kind != "local":
        raise StandingError("only a local ledger closes")
    constitution.closed = at


_CHANGES: dict[str, Callable[[Constitution, Any, str, int], None]] = {
    CHARTER_1.name: _found,
    KEY_1.name: _change_key,
    KEY_ROTATION_1.name: _rotate_key,
    LOG_KEY_1.name: _rotate_log_key,
    MEMBER_1.name: _change_member,
    POLICY_1.name: _change_policy,
    AUDIENCE_1.name: _set_audience,
    MUTABILITY_1.name: _set_mutability,
    RETENTION_1.name: _retire,
    CAPTURE_LIMITS_1.name: _limit_calls,
    CAPTURE_STOP_1.name: _stop_calls,
    CLOSING_1.name: _close,
    EPOCH_1.name: _open_epoch,
}
