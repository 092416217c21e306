"""``member/1``: admits, suspends, resumes or removes a member; grants or withdraws its roles.

A member is an organisation. It comes with keys of its own, so that the first steward of a
member is named by those who admit it, and every later key by that steward.
"""

from typing import Annotated, Literal

import msgspec

from ledger_core.errors import PayloadError
from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.possession import HeldKey, check_possession, check_roles
from ledger_core.records.rules import EVERY_MEMBER, MemberName, RoleName

Roles = Annotated[tuple[RoleName, ...], msgspec.Meta(max_length=32)]


class Admit(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="admit"
):
    member: MemberName
    keys: Annotated[tuple[HeldKey, ...], msgspec.Meta(min_length=1, max_length=100)]
    roles: Roles = ()


class Suspend(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="suspend"
):
    """Its keys write nothing and its voice does not count, until it is resumed."""

    member: MemberName


class Resume(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="resume"
):
    member: MemberName


class Remove(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="remove"
):
    """For ever: the name is not given again."""

    member: MemberName


class Grant(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="grant"
):
    member: MemberName
    role: RoleName


class Withdraw(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="withdraw"
):
    member: MemberName
    role: RoleName


MemberChange = Admit | Suspend | Resume | Remove | Grant | Withdraw
Action = Literal["admit", "suspend", "resume", "remove", "grant", "withdraw"]


def _rule(record: Record, payload: Payload) -> None:
    change: MemberChange = payload["body"]
    roles = change.roles if isinstance(change, Admit) else ()
    if isinstance(change, Grant | Withdraw):
        roles = (change.role,)
    if EVERY_MEMBER in roles or len(set(roles)) != len(roles):
        raise PayloadError(f"roles are named once each; {EVERY_MEMBER!r} is held by every member")
    if isinstance(change, Admit):
        if len({held.key for held in change.keys}) != len(change.keys):
            raise PayloadError("a key is named twice")
        for held in change.keys:
            check_roles(held.roles)
            if "operator" in held.roles:
                raise PayloadError("an operator runs the log; a member's keys are not operators")
            check_possession(record.ledger, held.key, held.possession)


MEMBER_1 = RecordType(
    name="member/1",
    summary="Admits, suspends, resumes or removes a member; grants or withdraws a role.",
    parts={"body": PartType(MemberChange)},
    writers=frozenset({"operator", "steward"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
    rule=_rule,
)
