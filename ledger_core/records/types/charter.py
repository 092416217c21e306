"""``charter/1``: the first entry of a ledger. Its leaf hash is the ledger's identity.

It names the origin, the kind of ledger, the log's own key, the founding keys and members and
the first policies. It is signed by one of the founding operators.

In a **consortium** nobody is admitted and no policy is changed by the operator alone: its
charter carries policies for both. A **local** ledger names its parties and its parent.
"""

from typing import Annotated, Literal

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, PayloadError, SignatureError
from ledger_core.formats import ed25519
from ledger_core.formats.record import Record
from ledger_core.formats.vkey import LogKey, check_named_by_key, parse_vkey
from ledger_core.records.model import PartType, Payload, RecordType, Role
from ledger_core.records.rules import (
    EVERY_MEMBER,
    AudienceSetting,
    MemberName,
    MutabilitySetting,
    Policy,
    RoleName,
    check_audience,
    check_mutability,
    check_policy,
)

Kind = Literal["public", "private", "consortium", "local"]
QUORUM_TYPES = ("member/1", "policy/1")
"""What a consortium changes by quorum only."""


class FoundingKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key that stands from the first entry on, for a founding member if it names one."""

    key: str
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1, max_length=3)]
    member: MemberName | None = None


class FoundingMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    name: MemberName
    roles: Annotated[tuple[RoleName, ...], msgspec.Meta(max_length=32)] = ()


class Parent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ledger that a local ledger's root is anchored in."""

    origin: str
    charter: str


class Charter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    origin: str
    kind: Kind
    log_key: str
    """vkey of the log (type 0x01), named like the origin."""
    keys: Annotated[tuple[FoundingKey, ...], msgspec.Meta(min_length=1, max_length=1000)]
    members: Annotated[tuple[FoundingMember, ...], msgspec.Meta(max_length=limits.MEMBERS)] = ()
    policies: Annotated[tuple[Policy, ...], msgspec.Meta(max_length=64)] = ()
    audiences: Annotated[tuple[AudienceSetting, ...], msgspec.Meta(max_length=64)] = ()
    mutability: Annotated[tuple[MutabilitySetting, ...], msgspec.Meta(max_length=64)] = ()
    parties: Annotated[tuple[str, ...], msgspec.Meta(max_length=limits.PARTIES)] = ()
    """Of a local ledger: keys and founding members, sorted."""
    parent: Parent | None = None


class Founding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What founders may say of a ledger beside its origin, kind and operators."""

    members: Annotated[tuple[FoundingMember, ...], msgspec.Meta(max_length=limits.MEMBERS)] = ()
    keys: Annotated[tuple[FoundingKey, ...], msgspec.Meta(max_length=900)] = ()
    policies: Annotated[tuple[Policy, ...], msgspec.Meta(max_length=64)] = ()
    audiences: Annotated[tuple[AudienceSetting, ...], msgspec.Meta(max_length=64)] = ()
    mutability: Annotated[tuple[MutabilitySetting, ...], msgspec.Meta(max_length=64)] = ()
    parties: Annotated[tuple[str, ...], msgspec.Meta(max_length=limits.PARTIES)] = ()
    parent: Parent | None = None


NOTHING_MORE = msgspec.convert({}, Founding)
"""Converted, so that msgspec knows the struct before several threads convert to it."""


def _rule(record: Record, payload: Payload) -> None:
    charter: Charter = payload["body"]
    try:
        _check_keys(charter, record)
    except (MalformedError, SignatureError) as error:
        raise PayloadError(f"charter: {error}") from None
    _check_members(charter)
    _check_policies(charter)
    if charter.kind == "local" or charter.parties or charter.parent is not None:
        _check_local(charter)


def _check_keys(charter: Charter, record: Record) -> None:
    log_key = parse_vkey(charter.log_key)
    for founding in charter.keys:
        ed25519.check_public_key(ids.parse_key(founding.key))
    if not isinstance(log_key, LogKey) or log_key.name != charter.origin:
        raise PayloadError("charter's log_key is not a log's vkey named like its origin")
    check_named_by_key(log_key)
    if charter.origin != record.ledger:
        raise PayloadError("charter's origin is not the ledger it is meant for")
    if len({founding.key for founding in charter.keys}) != len(charter.keys):
        raise PayloadError("charter names a key twice")
    if any(len(set(founding.roles)) != len(founding.roles) for founding in charter.keys):
        raise PayloadError("charter names a role of a key twice")
    author = [f for f in charter.keys if f.key == record.author]
    if not author or "operator" not in author[0].roles:
        raise PayloadError("a charter is signed by one of its founding operators")


def _check_members(charter: Charter) -> None:
    names = {member.name for member in charter.members}
    if len(names) != len(charter.members):
        raise PayloadError("charter names a member twice")
    for member in charter.members:
        if EVERY_MEMBER in member.roles or len(set(member.roles)) != len(member.roles):
            raise PayloadError(f"roles once each; {EVERY_MEMBER!r} is held by every member")
    for founding in charter.keys:
        if founding.member is not None and founding.member not in names:
            raise PayloadError(f"charter gives a key to {founding.member}, who is no member")
        if founding.member is not None and "operator" in founding.roles:
            raise PayloadError("an operator runs the log; a member's keys are not operators")
        if founding.member is None and "steward" in founding.roles:
            raise PayloadError("a steward speaks for a member's keys: name the member")


def _check_policies(charter: Charter) -> None:
    governed: list[str] = []
    for policy in charter.policies:
        check_policy(policy)
        governed += policy.governs
    if len(set(governed)) != len(governed):
        raise PayloadError("charter has two policies for one type")
    for setting in charter.audiences:
        check_audience(setting)
    if len({setting.type for setting in charter.audiences}) != len(charter.audiences):
        raise PayloadError("charter sets an audience twice")
    for mutability in charter.mutability:
        check_mutability(mutability)
    if len({each.type for each in charter.mutability}) != len(charter.mutability):
        raise PayloadError("charter sets a type's mutability twice")
    if charter.kind == "consortium":
        missing = [name for name in QUORUM_TYPES if name not in governed]
        if missing or not charter.members:
            raise PayloadError(
                f"a consortium has members, and policies for {' and '.join(QUORUM_TYPES)}"
            )


def _check_local(charter: Charter) -> None:
    parties, members = charter.parties, {member.name for member in charter.members}
    keys = {founding.key for founding in charter.keys}
    if charter.kind != "local" or not parties or charter.parent is None:
        raise PayloadError("a local ledger, and no other, names its parties and its parent")
    if list(parties) != sorted(set(parties)) or not set(parties) <= members | keys:
        raise PayloadError("parties are sorted, each once, and founding members or keys")
    try:
        ids.check_origin(charter.parent.origin)
        ids.parse_digest(charter.parent.charter)
    except MalformedError as error:
        raise PayloadError(f"charter's parent: {error}") from None


CHARTER_1 = RecordType(
    name="charter/1",
    summary="Founds a ledger: kind, log key, founding keys, members, policies. Always entry 0.",
    parts={"body": PartType(Charter)},
    writers=frozenset({"operator"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
    rule=_rule,
)
