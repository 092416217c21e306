"""``key/1``: registers or revokes an author's key. Signed by an operator.

A registration carries the new key's own signature over origin and key, so that nobody
registers a key they do not hold. A revocation counts from its index on; entries before it
verify for ever. No key revokes itself: an operator is always left to govern the ledger.
"""

from typing import Annotated, Literal

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError, PayloadError, SignatureError
from ledger_core.formats import ed25519
from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType, Role


class Register(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="register"
):
    key: str
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1, max_length=2)]
    possession: str
    """base64url of the key's signature over :func:`possession_message`."""


class Revoke(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="revoke"
):
    key: str
    reason: Literal["retired", "lost", "compromised"]


def possession_message(origin: str, key: str) -> bytes:
    """Return what a key signs to show that its holder wants it registered at ``origin``."""
    return f"ledgergrid/key-possession@v1\n{origin}\n{key}\n".encode()


def prove_possession(origin: str, private: ed25519.PrivateKey) -> str:
    """Sign the possession message; pairs with the rule of ``key/1``."""
    message = possession_message(origin, ids.format_key(private.public_key))
    return ids.encode_base64url(private.sign(message))


def _rule(record: Record, payload: Payload) -> None:
    change: Register | Revoke = payload["body"]
    try:
        public_key = ids.parse_key(change.key)
        if isinstance(change, Register):
            signature = ids.decode_base64url(change.possession, ed25519.SIGNATURE_BYTES)
            message = possession_message(record.ledger, change.key)
            ed25519.verify(public_key, message, signature)
            if len(set(change.roles)) != len(change.roles):
                raise PayloadError("key: a role is named twice")
    except (MalformedError, SignatureError) as error:
        raise PayloadError(f"key: {error}") from None
    if isinstance(change, Revoke) and change.key == record.author:
        # So that an operator is always left to govern the ledger: the one who signs.
        raise PayloadError("key: a key is revoked by another operator's, never by itself")


KEY_1 = RecordType(
    name="key/1",
    summary="Registers a key with roles, or revokes it.",
    parts={"body": PartType(Register | Revoke)},
    writers=frozenset({"operator"}),
    audience="public",
    is_governance=True,
    rule=_rule,
)
