"""ML-DSA-44 (FIPS 204), pure and with an empty context: signatures no quantum computer forges.

Keys are 1,312 bytes, signatures 2,420, private keys a seed of 32. Signing is randomised, so
signing twice gives two signatures, and both verify. All libraries agree on which ones do:
FIPS 204 leaves no crafted cases, unlike Ed25519.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from ledger_core.errors import SignatureError

PUBLIC_KEY_BYTES = 1312
SEED_BYTES = 32
SIGNATURE_BYTES = 2420


def check_public_key(public_key: bytes) -> None:
    """Raise :class:`SignatureError` unless the key can be one."""
    _load(public_key)


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise :class:`SignatureError` unless ``signature`` is the key's over ``message``."""
    key = _load(public_key)
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureError(f"signature is {len(signature)} bytes long, not {SIGNATURE_BYTES}")
    try:
        key.verify(signature, message)
    except InvalidSignature:
        raise SignatureError("signature does not verify under the key it names") from None


def _load(public_key: bytes) -> MLDSA44PublicKey:
    try:
        return MLDSA44PublicKey.from_public_bytes(public_key)
    except ValueError:
        raise SignatureError("public key is not one of ML-DSA-44") from None


class PrivateKey:
    """A private key, made from its seed."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self._private = MLDSA44PrivateKey.from_seed_bytes(seed)
        self.public_key = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return a 2,420-byte signature over ``message``."""
        return self._private.sign(message)
