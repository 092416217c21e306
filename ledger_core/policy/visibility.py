"""Visibility: who sees an entry, and who the parts of its payload.

From wide to narrow::

    public  <  members  <  roles, parties  <  operator

An entry has the audience that stood for its type at its own index; where none was set, the
ledger's kind decides: public in a public ledger, members in a private one and a consortium,
parties in a local one. A part has its record type's own audience, in a local ledger the
parties', and is never seen by someone who may not see its entry.

Governance is seen, whole, by whoever sees the ledger: without it nobody could judge the rest.
The operator sees everything.

A redacted part is seen by those members, of those who saw it, who hold a role that the redaction
names. It hides the part as it stands now, whatever the time one asks about.

A narrower audience never shows more: whoever is named as a party or holds a role stands in
the ledger, and whoever stands in it reads what is for members.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from ledger_core import ids
from ledger_core.errors import DanglingReferenceError, IntegrityError, UnknownTypeError
from ledger_core.formats.entry import look_into
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Veil
from ledger_core.records.model import RecordType
from ledger_core.records.registry import find_type
from ledger_core.records.rules import EVERY_MEMBER, Audience
from ledger_core.records.types.charter import Kind

_DEFAULT_ENTRY: dict[Kind, Audience] = {
    "public": "public",
    "private": "members",
    "consortium": "members",
    "local": "parties",
}
_RANK: dict[Audience, int] = {"public": 0, "members": 1, "roles": 2, "parties": 2, "operator": 3}


def party_name(party: str) -> str:
    """Return what a circle calls a party: a key as it is, a member as ``member:acme``."""
    return party if party.startswith(ids.KEY_PREFIX) else f"member:{party}"


# --- readers ---------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """Whoever reads one ledger, as it stands now; nobody in particular by default.

    ``is_insider``: belongs to the one organisation that a private or public ledger is of.
    ``member``, ``key``: as whom it reads, if that member or key stands; ``roles`` are the
    member's.
    """

    is_operator: bool = False
    is_insider: bool = False
    member: str | None = None
    key: str | None = None
    roles: frozenset[str] = frozenset()

    @property
    def is_among_members(self) -> bool:
        return self.is_operator or self.is_insider or bool(self.member or self.key)

    @property
    def names(self) -> frozenset[str]:
        """What a circle may call this reader."""
        names = set[str]()
        if self.key is not None:
            names.add(party_name(self.key))
        if self.member is not None:
            names.add(party_name(self.member))
            names.update(f"role:{role}" for role in self.roles)
        return frozenset(names)


NOBODY = Reader()
OPERATOR = Reader(is_operator=True)


def find_reader(constitution: Constitution, party: str | None) -> Reader:
    """Return as whom a token's holder reads; ``party`` is a member, a key, or not said.

    What does not stand now, member or key, reads like anyone else.
    """
    if party is None:
        return Reader(is_insider=constitution.kind in ("public", "private"))
    name, key = party, None
    if party.startswith(ids.KEY_PREFIX):
        found = constitution.keys.get(party)
        if found is None or found.revoked is not None:
            return NOBODY
        if found.member is None:
            return Reader(key=party)
        name, key = found.member, party
    member = constitution.members.get(name)
    if member is None or member.now.status != "admitted":
        return NOBODY
    return Reader(member=name, key=key, roles=member.now.roles | {EVERY_MEMBER})


def sees_ledger(constitution: Constitution, party: str | None) -> bool:
    """Say whether a token's holder sees that there is such a ledger, and its governance.

    A member that was suspended or removed still sees that it was.
    """
    if constitution.kind == "public":
        return True
    if party is None:
        return constitution.kind != "local"
    return party in constitution.members or party in constitution.keys


# --- circles ---------------------------------------------------------------------


@dataclass(frozen=True)
class Circle:
    """Those who see an entry or a part. ``names``: which roles, or which parties."""

    audience: Audience
    names: frozenset[str] = frozenset()

    def includes(self, reader: Reader) -> bool:
        if reader.is_operator or self.audience == "public":
            return True
        if self.audience == "members":
            return reader.is_among_members
        return self.audience != "operator" and not self.names.isdisjoint(reader.names)


def narrower(first: Circle, second: Circle) -> Circle:
    """Return a circle within both."""
    ranks = _RANK[first.audience], _RANK[second.audience]
    if ranks[0] != ranks[1]:
        return first if ranks[0] > ranks[1] else second
    if first.audience == second.audience:
        return Circle(first.audience, first.names & second.names)
    # Some role and some party: who is both cannot be told by names alone.
    return Circle("operator")


class Subject(msgspec.Struct, frozen=True):
    """An entry, as far as visibility looks at it."""

    index: int
    type: str
    author: str
    parties: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


class _Said(msgspec.Struct):
    type: str
    author: str
    payload: dict[str, msgspec.Raw]
    parties: tuple[str, ...] = ()


_SAID = msgspec.json.Decoder(_Said)


def read_subject(index: int, leaf: bytes) -> Subject:
    """Return the subject that a stored leaf is; it was checked in full when it was admitted."""
    try:
        said = _SAID.decode(look_into(leaf)[1])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"entry {index}: {error}", index=index) from None
    return Subject(index, said.type, said.author, said.parties, tuple(said.payload))


def entry_circle(constitution: Constitution, subject: Subject) -> Circle:
    """Return who sees an entry; ``constitution`` is of its index or any later one."""
    kind = _find_kind(subject.type)
    if kind is not None and kind.is_governance:
        return Circle("public")
    setting = constitution.audience_at(subject.type, subject.index)
    audience = setting.entry if setting is not None else None
    return _circle(constitution, subject, audience or _DEFAULT_ENTRY[constitution.kind])


def part_circle(constitution: Constitution, subject: Subject, part: str) -> Circle:
    """Return who sees a part of an entry's payload, of those who see the entry."""
    kind = _find_kind(subject.type)
    if kind is not None and kind.is_governance:
        return Circle("public")
    setting = constitution.audience_at(subject.type, subject.index)
    audience = setting.parts.get(part) if setting is not None else None
    return _circle(constitution, subject, audience or _default_part(constitution, kind))


def payload_circle(constitution: Constitution, subject: Subject, parts: Iterable[str]) -> Circle:
    """Return a circle within those who see the entry and each of these parts."""
    circle = entry_circle(constitution, subject)
    for part in parts:
        circle = narrower(circle, part_circle(constitution, subject, part))
    return circle


@dataclass(frozen=True)
class Standpoint:
    """A reader, and the constitution by which it sees."""

    reader: Reader
    constitution: Constitution

    @property
    def sees_every_entry(self) -> bool:
        """Say whether no entry at all can be hidden from this reader."""
        if self.reader.is_operator:
            return True
        default = Circle(_DEFAULT_ENTRY[self.constitution.kind])
        return not self.constitution.audiences and default.includes(self.reader)

    def sees(self, subject: Subject) -> bool:
        if self.reader.is_operator:
            return True
        return entry_circle(self.constitution, subject).includes(self.reader)

    def sees_part(self, subject: Subject, part: str, veil: Veil | None = None) -> bool:
        """Say whether the reader, who sees the entry, sees this part of its payload.

        ``veil``: what hides the part now, if it is redacted; never what hid it then.
        """
        if self.reader.is_operator:
            return True
        if veil is not None and (veil.visible_to or frozenset()).isdisjoint(self.reader.roles):
            return False
        return part_circle(self.constitution, subject, part).includes(self.reader)


def _find_kind(type_name: str) -> RecordType | None:
    try:
        return find_type(type_name)
    except UnknownTypeError:
        return None


def _default_part(constitution: Constitution, kind: RecordType | None) -> Audience:
    """Return the type's own audience; of a type this version does not know: the operator."""
    if kind is None or kind.audience == "operator":
        return "operator"
    return "parties" if constitution.kind == "local" else kind.audience


def _circle(constitution: Constitution, subject: Subject, audience: Audience) -> Circle:
    if audience == "parties":
        return Circle(audience, _parties(constitution, subject))
    if audience == "roles":
        setting = constitution.audience_at(subject.type, subject.index)
        roles = setting.roles if setting is not None else ()
        return Circle(audience, frozenset(f"role:{role}" for role in roles))
    return Circle(audience)


def _parties(constitution: Constitution, subject: Subject) -> frozenset[str]:
    """Name a record's parties, its author with its member, and those of a local ledger."""
    parties = {subject.author, *subject.parties}
    author = constitution.keys.get(subject.author)
    if author is not None and author.member is not None:
        parties.add(author.member)
    if constitution.kind == "local":
        parties |= constitution.parties
    return frozenset(map(party_name, parties))


# --- parties of a record ---------------------------------------------------------


def check_parties(constitution: Constitution, parties: Iterable[str], index: int) -> None:
    """Raise unless each was, at ``index``, a member not removed or a key not revoked.

    ``constitution`` is of that index or any later one.
    """
    for party in parties:
        if not is_party_at(constitution, party, index):
            raise DanglingReferenceError(f"{party} is no member or key of this ledger")


def is_party_at(constitution: Constitution, party: str, index: int) -> bool:
    """Say whether a record at ``index`` may name this party."""
    if party.startswith(ids.KEY_PREFIX):
        key = constitution.keys.get(party)
        if key is None or key.since >= index:
            return False
        return key.revoked is None or key.revoked >= index
    member = constitution.members.get(party)
    spell = None if member is None else member.at(index)
    return spell is not None and spell.status != "removed"
