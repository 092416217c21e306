"""A sealed payload part: how salt and data lie in the database, under a data key of their own.

::

    12 random bytes (nonce) ‖ AES-256-GCM(salt ‖ data) ‖ 16 bytes (tag)

The associated data are the 32 bytes of the part's commitment, so a sealed part opens only in the
place that committed to it. Each part has a data key of its own: when that key is destroyed, this
one part is gone from every copy of the database, and nothing else is.

Sources: NIST SP 800-38D, RFC 5116 section 5.2 (AEAD_AES_256_GCM)
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger_core.errors import IntegrityError
from ledger_core.formats.record import SALT_BYTES, Part

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = NONCE_BYTES + SALT_BYTES + TAG_BYTES


def seal_part(part: Part, key: bytes, commitment: bytes, nonce: bytes) -> bytes:
    """Encrypt salt and data. A key seals one part; ``nonce`` is random all the same."""
    return nonce + AESGCM(key).encrypt(nonce, part.salt + part.data, commitment)


def open_part(sealed: bytes, key: bytes, commitment: bytes) -> Part:
    """Decrypt a part; raise :class:`IntegrityError` unless it is what was sealed, to the bit."""
    if len(sealed) < OVERHEAD_BYTES or len(key) != KEY_BYTES:
        raise IntegrityError("a sealed part or its key has not the length it must have")
    try:
        clear = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], commitment)
    except InvalidTag:
        raise IntegrityError("a sealed part does not open: not what was stored here") from None
    return Part(clear[:SALT_BYTES], clear[SALT_BYTES:])
