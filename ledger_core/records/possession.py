"""Proof of possession: nobody brings a key into a ledger that they do not hold.

The key signs the ledger's origin and itself, so the proof is good for one ledger only.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError, PayloadError, SignatureError
from ledger_core.formats import ed25519
from ledger_core.records.model import Role


class HeldKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key with its roles and its own signature: base64url over :func:`possession_message`."""

    key: str
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1, max_length=3)]
    possession: str


def possession_message(origin: str, key: str) -> bytes:
    """Return what a key signs to show that its holder wants it registered at ``origin``."""
    return f"ledgergrid/key-possession@v1\n{origin}\n{key}\n".encode()


def prove_possession(origin: str, private: ed25519.PrivateKey) -> str:
    """Sign the possession message; pairs with :func:`check_possession`."""
    message = possession_message(origin, ids.format_key(private.public_key))
    return ids.encode_base64url(private.sign(message))


def check_possession(origin: str, key: str, possession: str) -> None:
    """Raise :class:`PayloadError` unless ``key`` signed that it wants to be registered here."""
    try:
        signature = ids.decode_base64url(possession, ed25519.SIGNATURE_BYTES)
        ed25519.verify(ids.parse_key(key), possession_message(origin, key), signature)
    except (MalformedError, SignatureError) as error:
        raise PayloadError(f"key: {error}") from None


def check_roles(roles: tuple[Role, ...]) -> None:
    """Raise :class:`PayloadError` if a role is named twice."""
    if len(set(roles)) != len(roles):
        raise PayloadError("key: a role is named twice")
