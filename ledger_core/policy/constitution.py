"""The constitution: what a ledger's governance entries have made of it so far.

Members, keys, policies, audiences and the log's own keys, each with its history by index. It
is a fold over governance entries in log order: the service keeps one in memory, the verifier
builds its own, and both judge with what is written here. It grows with governance, not with
entries.

A change that a policy governs waits in ``waiting`` until its outcome confirms it, and takes
effect at the outcome's index. Everything counts from the entry *after* the one that sets it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import Literal

from ledger_core.errors import ClosedError, StandingError
from ledger_core.records.model import Payload, RecordType, Role
from ledger_core.records.rules import (
    AMENDS,
    EVERY_MEMBER,
    EVERY_TYPE,
    IMMUTABLE,
    AudienceSetting,
    MutabilitySetting,
    Policy,
)
from ledger_core.records.types.capture_limits import NO_LIMITS, CaptureLimits
from ledger_core.records.types.charter import CHARTER_1, Kind

MemberStatus = Literal["admitted", "suspended", "removed"]


@dataclass(frozen=True)
class KeyStanding:
    """One key: its roles from ``since`` on, until ``revoked`` (indexes of entries).

    ``suspect_since``: what it signed from that index on is doubted by those who revoked it;
    it counts all the same.
    """

    key: str
    roles: frozenset[Role]
    since: int
    revoked: int | None = None
    member: str | None = None
    suspect_since: int | None = None


@dataclass(frozen=True)
class Spell:
    """How a member stands from ``since`` on, until its next spell."""

    since: int
    status: MemberStatus
    roles: frozenset[str]


@dataclass(frozen=True)
class Member:
    name: str
    spells: tuple[Spell, ...]

    @property
    def now(self) -> Spell:
        return self.spells[-1]

    def at(self, index: int) -> Spell | None:
        """Return the spell that counts at ``index``; None before it was admitted."""
        place = bisect_left(self.spells, index, key=lambda spell: spell.since)
        return self.spells[place - 1] if place else None

    def stands_at(self, index: int) -> bool:
        spell = self.at(index)
        return spell is not None and spell.status == "admitted"

    def roles_at(self, index: int) -> frozenset[str]:
        """Return the roles it holds at ``index``, that of every member among them."""
        spell = self.at(index)
        if spell is None or spell.status != "admitted":
            return frozenset()
        return spell.roles | {EVERY_MEMBER}


@dataclass(frozen=True)
class Waiting:
    """A governance change that is proposed and not yet confirmed."""

    kind: RecordType
    payload: Payload
    author: str
    index: int


@dataclass(frozen=True)
class Capture:
    """What stands for calls: the limits set last, and whether all calls are stopped.

    Each with the index of the entry since which it does; None: nothing was ever set, calls go on.
    """

    limits: CaptureLimits = NO_LIMITS
    limits_since: int | None = None
    stopped_since: int | None = None
    reason: str = ""
    """Why they are stopped."""


@dataclass
class Constitution:
    """Changed by :func:`ledger_core.policy.amending.apply` only; copy it to try something out."""

    kind: Kind = "private"
    keys: dict[str, KeyStanding] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    policies: dict[bytes, Policy] = field(default_factory=dict)
    """Every policy there ever was, by hash."""
    governing: dict[str, bytes] = field(default_factory=dict)
    """The policy in force by record type."""
    audiences: dict[str, tuple[tuple[int, AudienceSetting], ...]] = field(default_factory=dict)
    mutability: dict[str, tuple[tuple[int, MutabilitySetting], ...]] = field(default_factory=dict)
    retentions: dict[tuple[str, str], tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """Orders of the schedule by type and part: index of the order, received before (ms)."""
    log_keys: tuple[tuple[int, str], ...] = ()
    """vkeys of the log, each with the index of the entry that named it."""
    origins: tuple[tuple[int, str], ...] = ()
    """Origins of the log, each with the index of its first entry: one more with each epoch."""
    parties: frozenset[str] = frozenset()
    """Of a local ledger: the members and keys it was opened for."""
    waiting: dict[bytes, Waiting] = field(default_factory=dict)
    """By the proposal's leaf hash."""
    bundles: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    """Open bundles with a change among them: what they join, by the bundle's leaf hash."""
    capture: Capture = Capture()
    closed: int | None = None

    def copy(self) -> Constitution:
        return replace(
            self,
            keys=dict(self.keys),
            members=dict(self.members),
            policies=dict(self.policies),
            governing=dict(self.governing),
            audiences=dict(self.audiences),
            mutability=dict(self.mutability),
            retentions=dict(self.retentions),
            waiting=dict(self.waiting),
            bundles=dict(self.bundles),
        )

    def policy_for(self, type_name: str) -> Policy | None:
        """Return the policy in force for a record type, if it has one."""
        policy_hash = self.governing.get(type_name)
        return None if policy_hash is None else self.policies[policy_hash]

    def policy_over(self, change: str, type_name: str) -> bytes | None:
        """Return the hash of the policy over a change, as topics call it, of entries of a type."""
        own = (type_name,) if change == AMENDS else ()
        for topic in (f"{change}:{type_name}", change, *own):
            if topic in self.governing:
                return self.governing[topic]
        return None

    @property
    def origin(self) -> str:
        """The origin that the next entry has."""
        return self.origins[-1][1]

    def audience_at(self, type_name: str, index: int) -> AudienceSetting | None:
        """Return the setting that counts for entries of this type at ``index``."""
        history = self.audiences.get(type_name, ())
        place = bisect_left(history, index, key=lambda each: each[0])
        return history[place - 1][1] if place else None

    def mutability_at(self, type_name: str, index: int) -> MutabilitySetting:
        """Return who may change entries of this type at ``index``: nobody where nothing is set."""
        for name in (type_name, EVERY_TYPE):
            history = self.mutability.get(name, ())
            place = bisect_left(history, index, key=lambda each: each[0])
            if place:
                return history[place - 1][1]
        return IMMUTABLE

    # --- standing ----------------------------------------------------------------

    def stands_at(self, key_name: str, index: int) -> bool:
        """Say whether a key, and its member if it has one, stood at ``index``."""
        return self._doubt(key_name, index) is None

    def check_author(self, key_name: str, kind: RecordType, index: int) -> None:
        """Raise :class:`StandingError` unless the key may write ``kind`` at ``index``."""
        if (kind is CHARTER_1) != (index == 0):
            raise StandingError("a charter is entry 0, and entry 0 is a charter")
        if kind is CHARTER_1:
            return  # The charter's own rule asks for a founding operator's signature.
        if self.closed is not None and self.closed < index:
            raise ClosedError(f"the ledger was closed by entry {self.closed}")
        doubt = self._doubt(key_name, index)
        if doubt is not None:
            raise StandingError(doubt)
        if not self.keys[key_name].roles & kind.writers:
            allowed = " or ".join(sorted(kind.writers))
            raise StandingError(f"{kind.name} is written by {allowed}, this key is neither")

    def _doubt(self, key_name: str, index: int) -> str | None:
        """Say why a key does not stand at ``index``, if it does not."""
        key = self.keys.get(key_name)
        if key is None or key.since >= index:
            return "the author's key is not registered in this ledger"
        if key.revoked is not None and key.revoked < index:
            return f"the author's key was revoked by entry {key.revoked}"
        if key.member is not None and not self.members[key.member].stands_at(index):
            spell = self.members[key.member].at(index)
            how = "not admitted" if spell is None else f"{spell.status} by entry {spell.since}"
            return f"the author's member {key.member} is {how}"
        return None

    def changes_between(self, first: int, last: int, member: str) -> bool:
        """Say whether a member's standing changed so that ``first`` does not speak for ``last``."""
        return any(first <= spell.since < last for spell in self.members[member].spells)
