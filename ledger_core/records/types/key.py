"""``key/1``: registers or revokes an author's key.

A registration carries the new key's own signature over origin and key, so that nobody
registers a key they do not hold. A revocation counts from its index on; entries before it
verify for ever. No key revokes itself: an operator is always left to govern the ledger. Who
may sign: an operator, or for a member's keys its steward; in a consortium nobody else.
"""

from typing import Annotated, Literal

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Count, Record
from ledger_core.records.model import PartType, Payload, RecordType, Role
from ledger_core.records.possession import check_possession, check_roles
from ledger_core.records.rules import MemberName


class Register(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="action",
    tag="register",
):
    key: str
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1, max_length=3)]
    possession: str
    """base64url of the key's signature, see records/possession.py."""
    member: MemberName | None = None
    """Whose key it is."""


class Revoke(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="action",
    tag="revoke",
):
    key: str
    reason: Literal["retired", "lost", "compromised"]
    suspect_since: Count | None = None
    """Index from which on its signatures are doubted. A flag for readers: it undoes nothing."""


def _rule(record: Record, payload: Payload) -> None:
    change: Register | Revoke = payload["body"]
    if isinstance(change, Register):
        check_possession(record.ledger, change.key, change.possession)
        check_roles(change.roles)
        if change.member is not None and "operator" in change.roles:
            raise PayloadError("an operator runs the log; a member's keys are not operators")
        if change.member is None and "steward" in change.roles:
            raise PayloadError("a steward speaks for a member's keys: name the member")
        return
    try:
        ids.parse_key(change.key)
    except MalformedError as error:
        raise PayloadError(f"key: {error}") from None
    if change.key == record.author:
        # So that an operator is always left to govern the ledger: the one who signs.
        raise PayloadError("key: a key is revoked by another's, never by itself")


KEY_1 = RecordType(
    name="key/1",
    summary="Registers a key with roles, or revokes it.",
    parts={"body": PartType(Register | Revoke)},
    writers=frozenset({"operator", "steward"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
    rule=_rule,
)
