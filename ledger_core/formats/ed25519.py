"""Ed25519 (RFC 8032) by libsodium, whose rule for valid signatures is our normative one.

Libraries differ on crafted keys and signatures; a ledger cannot. We accept a public key
only if it is a canonically encoded point of the main subgroup, not of small order, and
a signature only if libsodium does (canonical S, R not of small order, cofactorless).
See docs/spec/signatures.md and its vectors.
"""

from __future__ import annotations

from functools import lru_cache

from nacl import bindings
from nacl.exceptions import CryptoError

from ledger_core.errors import SignatureError

PUBLIC_KEY_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64


@lru_cache(maxsize=16_384)
def _is_acceptable(public_key: bytes) -> bool:
    return len(public_key) == PUBLIC_KEY_BYTES and bindings.crypto_core_ed25519_is_valid_point(
        public_key
    )


def check_public_key(public_key: bytes) -> None:
    """Raise :class:`SignatureError` unless the key is a canonical point of prime order."""
    if not _is_acceptable(public_key):
        raise SignatureError("public key is not a canonical Ed25519 point of prime order")


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise :class:`SignatureError` unless ``signature`` is the key's over ``message``."""
    check_public_key(public_key)
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureError(f"signature is {len(signature)} bytes long, not {SIGNATURE_BYTES}")
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except CryptoError:
        raise SignatureError("signature does not verify under the key it names") from None


class PrivateKey:
    """A private key; signing is deterministic, so signing twice gives the same bytes."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.public_key, self._secret = bindings.crypto_sign_seed_keypair(seed)

    @classmethod
    def generate(cls) -> PrivateKey:
        return cls(bindings.randombytes(SEED_BYTES))

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over ``message``."""
        return bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]
