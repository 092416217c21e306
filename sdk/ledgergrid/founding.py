"""What founders write down before a ledger begins: members, keys, policies.

>>> founding = make_founding(
...     {"acme": [("ed25519:…", ["steward"])], "birch": [("ed25519:…", ["steward"])]},
...     [make_policy("member/1", "policy/1", rule=out_of(2, "acme", "birch"))],
... )
>>> sorted(msgspec.to_builtins(founding))
['audiences', 'keys', 'members', 'mutability', 'parent', 'parties', 'policies']
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from ledger_core.errors import MalformedError
from ledger_core.records.model import Role
from ledger_core.records.possession import HeldKey
from ledger_core.records.rules import (
    MemberRule,
    MutabilitySetting,
    OutOfRule,
    Policy,
    RoleRule,
    Rule,
    check_policy,
)
from ledger_core.records.types.charter import Founding, FoundingKey, FoundingMember

KeyLike = HeldKey | tuple[str, Sequence[str]]
"""A key with its roles: as its holder offered it, or as a pair."""

_WEEK_S = 7 * 24 * 3600


def out_of(at_least: int, *of: str | Rule) -> OutOfRule:
    """Make the rule that so many of these agree: members by name, or rules of their own."""
    return OutOfRule(at_least, tuple(MemberRule(x) if isinstance(x, str) else x for x in of))


def holders(role: str, at_least: int = 1) -> RoleRule:
    """Make the rule that so many who hold this role agree."""
    return RoleRule(role, at_least)


def make_policy(
    *governs: str,
    rule: Rule,
    name: str = "",
    ttl_s: int = _WEEK_S,
    count_by: Literal["member", "key"] = "member",
    author_counts: bool = True,
    withdrawn_by: Literal["author", "member", "nobody"] = "author",
    veto: Rule | None = None,
) -> Policy:
    """Make a policy for record types, checked as the ledger will."""
    if not governs:
        raise MalformedError("a policy governs at least one record type")
    policy = Policy(
        name=name or governs[0].replace("/", ".").replace("_", "-").replace(":", "-"),
        governs=governs,
        rule=rule,
        count_by=count_by,
        author_counts=author_counts,
        ttl_s=ttl_s,
        withdrawn_by=withdrawn_by,
        veto=veto,
    )
    check_policy(policy)
    return policy


def make_founding(
    members: Mapping[str, Iterable[KeyLike]],
    policies: Iterable[Policy],
    *,
    roles: Mapping[str, Sequence[str]] | None = None,
    parties: Iterable[str] = (),
    mutability: Iterable[MutabilitySetting] = (),
) -> Founding:
    """Put together what ``POST /api/v1/ledgers`` and ``ledger create --founding`` take.

    ``roles`` are those of members, by name; ``parties`` are of a local ledger. Without
    ``mutability`` nobody ever changes what holds of an entry, until a setting says so.
    """
    known = roles or {}
    return Founding(
        members=tuple(FoundingMember(name, tuple(known.get(name, ()))) for name in members),
        keys=tuple(_founding_key(key, name) for name, keys in members.items() for key in keys),
        policies=tuple(policies),
        mutability=tuple(mutability),
        parties=tuple(sorted(set(parties))),
    )


def _founding_key(key: KeyLike, member: str) -> FoundingKey:
    named, roles = (key.key, key.roles) if isinstance(key, HeldKey) else key
    try:
        return FoundingKey(named, msgspec.convert(roles, tuple[Role, ...]), member)
    except msgspec.ValidationError as error:
        raise MalformedError(f"roles of a key of {member}: {error}") from None


def format_founding(founding: Founding) -> bytes:
    """Format a founding as the JSON file that founders read before any of them agrees to it."""
    return msgspec.json.format(msgspec.json.encode(founding), indent=2) + b"\n"
