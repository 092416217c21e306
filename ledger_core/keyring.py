"""The service's private keys: one secret, from which every ledger's keys are derived.

Ten thousand ledgers need one file, and several machines serving one database need only
the same secret. Derivation is HKDF-SHA256 (RFC 5869) over purpose and origin.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger_core import ids
from ledger_core.errors import MalformedError, SettingsError
from ledger_core.formats import mldsa44
from ledger_core.formats.ed25519 import SEED_BYTES, PrivateKey
from ledger_core.formats.vkey import AnyWitnessSigner, MldsaWitnessSigner, NoteSigner, WitnessSigner

_SECRET_BYTES = 32


class Keyring:
    """Derives the keys of each ledger. The secret never leaves this object."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _SECRET_BYTES:
            raise SettingsError(f"the service's secret must be {_SECRET_BYTES} bytes")
        self._secret = secret

    def log_signer(self, origin: str, generation: int = 0) -> NoteSigner:
        """Return the key that signs this ledger's checkpoints, after so many handovers."""
        # No origin has a line end, so these are no other ledger's names.
        name = f"{origin}\n{generation}" if generation else origin
        return NoteSigner(origin, self._derive("log", name))

    def witness_signers(self, name: str) -> tuple[AnyWitnessSigner, ...]:
        """Return the keys with which this service, as the witness ``name``, cosigns other logs."""
        post_quantum = mldsa44.PrivateKey(self._derive_seed("witness-ml-dsa-44", name))
        return (
            WitnessSigner(name, self._derive("witness", name)),
            MldsaWitnessSigner(name, post_quantum),
        )

    def operator(self, origin: str) -> PrivateKey:
        """Return the service's own operator key in this ledger."""
        return self._derive("operator", origin)

    def service_name(self) -> str:
        """Return eight characters that tell this service from others, derived from its secret."""
        return self._derive("name", "").public_key.hex()[:8]

    def _derive(self, purpose: str, origin: str) -> PrivateKey:
        return PrivateKey(self._derive_seed(purpose, origin))

    def _derive_seed(self, purpose: str, name: str) -> bytes:
        info = f"ledgergrid/{purpose}-key@v1\n{name}\n".encode()
        return HKDF(SHA256(), SEED_BYTES, None, info).derive(self._secret)


def open_keyring(path: Path) -> Keyring:
    """Read the secret from ``path``; make one, readable by its owner only, if there is none."""
    if not path.exists():
        _make_secret(path)
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"{path} can be read by others: chmod 600 {path}")
    try:
        return Keyring(ids.decode_base64(path.read_text().strip(), _SECRET_BYTES))
    except MalformedError:
        raise SettingsError(f"{path} does not hold 32 bytes in base64") from None


def _make_secret(path: Path) -> None:
    """Write a new secret, whole and durable before it has its name; the first of several wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unnamed = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(ids.encode_base64(secrets.token_bytes(_SECRET_BYTES)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(unnamed, path)
    finally:
        unnamed.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
