"""What several governance types speak of: names, audiences, and rules of who must agree.

A **rule** says whose endorsements suffice. It is monotone: more agreement never undoes it. ::

    {"rule":"out_of","at_least":2,"of":[
        {"rule":"member","member":"acme"},
        {"rule":"role","role":"auditor","at_least":1},
        {"rule":"key","key":"ed25519:…"}]}

A **policy** names the record types it governs, a rule, how voices are counted and how long a
proposal stays open. Its hash stands in every endorsement, so nobody endorses under one
policy and is counted under another.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated, Literal

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import check_type_name

_POLICY_TAG = b"ledgergrid/policy@v1\n"

# `$` alone lets a line end pass behind it, in Python's dialect.
MemberName = Annotated[
    str, msgspec.Meta(max_length=63, pattern=r"^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$(?!\n)")
]
RoleName = Annotated[str, msgspec.Meta(max_length=32, pattern=r"^[a-z][a-z0-9_-]{0,31}$(?!\n)")]
PartName = Annotated[
    str,
    msgspec.Meta(max_length=limits.PART_NAME_CHARS, pattern=r"^[a-z][a-z0-9_]{0,31}$(?!\n)"),
]
TypeName = Annotated[str, msgspec.Meta(max_length=limits.STREAM_CHARS)]
Topic = Annotated[str, msgspec.Meta(max_length=2 * limits.STREAM_CHARS + 1)]
"""What a policy governs: a record type; a change, like ``erasure/1``, of entries of any type; or
of one type, like ``erasure/1:note/1``. An amendment, which has its target's type, is ``amends``."""
LeafHash = Annotated[str, msgspec.Meta(max_length=limits.STREAM_CHARS)]
AtLeast = Annotated[int, msgspec.Meta(ge=1, le=limits.RULE_VOICES)]

AMENDS = "amends"
CHANGES = (AMENDS, "rollback/1", "redaction/1", "hold/1", "erasure/1")
"""The changes of earlier entries, as topics name them."""

EVERY_MEMBER = "member"
"""The role that every member in standing holds, by being one."""


class MemberRule(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="member"
):
    """This member agrees."""

    member: MemberName


class KeyRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="key"):
    """The holder of this key agrees."""

    key: str


class RoleRule(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="role"
):
    """At least so many voters who hold this role agree."""

    role: RoleName
    at_least: AtLeast = 1


class OutOfRule(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="out_of"
):
    """At least so many of these hold; members and keys among them count once a voter."""

    at_least: AtLeast
    of: Annotated[
        tuple[MemberRule | KeyRule | RoleRule | OutOfRule, ...],
        msgspec.Meta(min_length=1, max_length=limits.RULE_VOICES),
    ]


Rule = MemberRule | KeyRule | RoleRule | OutOfRule


class Policy(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Who must agree before records of these types take effect.

    ``veto``: a rule over those who reject; when it holds, the proposal is rejected at once.
    Without it a proposal is rejected when its rule can no longer be met.
    """

    name: MemberName
    governs: Annotated[tuple[Topic, ...], msgspec.Meta(min_length=1, max_length=64)]
    rule: Rule
    count_by: Literal["member", "key"]
    author_counts: bool
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=limits.PROPOSAL_TTL_S)]
    withdrawn_by: Literal["author", "member", "nobody"] = "author"
    veto: Rule | None = None


_ENCODER = msgspec.json.Encoder(order="sorted")


def hash_policy(policy: Policy) -> bytes:
    """Return SHA-256(tag || canonical JSON of the policy)."""
    return sha256(_POLICY_TAG + _ENCODER.encode(policy)).digest()


def check_policy(policy: Policy) -> None:
    """Raise :class:`PayloadError` for what a policy's schema cannot say."""
    if len(set(policy.governs)) != len(policy.governs):
        raise PayloadError("a policy names a type twice")
    try:
        for name in policy.governs:
            check_topic(name)
        for rule in (policy.rule, policy.veto):
            if rule is not None:
                _check_rule(rule)
    except MalformedError as error:
        raise PayloadError(f"policy: {error}") from None


def check_topic(topic: str) -> None:
    """Raise :class:`MalformedError` unless ``topic`` is a record type or a change of a type."""
    change, colon, type_name = topic.partition(":")
    if topic == AMENDS:
        return
    if not colon:
        check_type_name(topic)
        return
    if change not in CHANGES:
        raise MalformedError(f"{change[:60]!r} is no change; those are {', '.join(CHANGES)}")
    check_type_name(type_name)


def _check_rule(rule: Rule) -> None:
    for count, (node, depth) in enumerate(walk(rule), start=1):
        if count > limits.RULE_NODES:
            raise PayloadError(f"a rule has more than {limits.RULE_NODES} parts")
        if depth > limits.RULE_DEPTH:
            raise PayloadError(f"a rule is nested deeper than {limits.RULE_DEPTH}")
        if isinstance(node, KeyRule):
            ids.parse_key(node.key)
        elif isinstance(node, OutOfRule) and node.at_least > len(node.of):
            raise PayloadError(f"{node.at_least} out of {len(node.of)} can never be")


def walk(rule: Rule, depth: int = 1) -> Iterator[tuple[Rule, int]]:
    """Yield a rule and all rules in it, each with its depth."""
    yield rule, depth
    if isinstance(rule, OutOfRule):
        for each in rule.of:
            yield from walk(each, depth + 1)


# --- audiences -------------------------------------------------------------------

Audience = Literal["public", "members", "roles", "parties", "operator"]


class AudienceSetting(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Who sees entries of a type, and who the parts of their payload.

    A part is never seen by someone who may not see its entry. ``roles`` says which roles of
    members ``roles`` means here. What is left out stays as the type and the ledger's kind say.
    """

    type: TypeName
    entry: Audience | None = None
    parts: dict[PartName, Audience] = {}
    roles: tuple[RoleName, ...] = ()


def check_audience(setting: AudienceSetting) -> None:
    """Raise :class:`PayloadError` for what the schema cannot say."""
    try:
        check_type_name(setting.type)
    except MalformedError as error:
        raise PayloadError(f"audience: {error}") from None
    if setting.entry is None and not setting.parts:
        raise PayloadError("an audience is set for the entry, for parts of it, or both")
    if len(setting.parts) > limits.PAYLOAD_PARTS:
        raise PayloadError(f"more than {limits.PAYLOAD_PARTS} parts")
    asks_roles = "roles" in (setting.entry, *setting.parts.values())
    if asks_roles != bool(setting.roles) or len(set(setting.roles)) != len(setting.roles):
        raise PayloadError("roles are named, each once, if and only if an audience is `roles`")


# --- mutability ------------------------------------------------------------------

Who = Annotated[
    str,
    msgspec.Meta(
        max_length=40,
        pattern=r"^(?:author|member|operator|steward|role:[a-z][a-z0-9_-]{0,31})$(?!\n)",
    ),
]
"""The entry's own key; any key of its member; a key with this role; one whose member holds it."""
Those = Annotated[tuple[Who, ...], msgspec.Meta(max_length=16)]
KeepS = Annotated[int, msgspec.Meta(ge=1, le=limits.KEEP_S)]

EVERY_TYPE = "*"


class MutabilitySetting(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Who may ask for which change of entries of a type, and how long their payload is kept.

    What nobody is named for cannot be done: without a setting nothing can. ``type`` may be
    ``*``, for all types that have no setting of their own. ``for_ever``: never set again.
    ``keep_s``: seconds after its time received that a part may be erased on schedule.
    """

    type: TypeName
    for_ever: bool = False
    amend: Those = ()
    roll_back: Those = ()
    redact: Those = ()
    erase: Those = ()
    hold: Those = ()
    keep_s: dict[PartName, KeepS] = {}


IMMUTABLE = MutabilitySetting(type=EVERY_TYPE)


def check_mutability(setting: MutabilitySetting) -> None:
    """Raise :class:`PayloadError` for what the schema cannot say."""
    try:
        if setting.type != EVERY_TYPE:
            check_type_name(setting.type)
    except MalformedError as error:
        raise PayloadError(f"mutability: {error}") from None
    if len(setting.keep_s) > limits.PAYLOAD_PARTS:
        raise PayloadError(f"more than {limits.PAYLOAD_PARTS} parts")
    for those in (setting.amend, setting.roll_back, setting.redact, setting.erase, setting.hold):
        if len(set(those)) != len(those):
            raise PayloadError("somebody is named twice for one change")
