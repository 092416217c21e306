"""The service's private keys: one secret, from which every ledger's keys are derived.

Ten thousand ledgers need one file, and several machines serving one database need only
the same file. Derivation is HKDF-SHA256 (RFC 5869) over purpose and origin. A log may have a
key of its own instead: below the secret the file holds such keys, one a line, each named like
the origin of its log::

    c2VjcmV0IG9mIDMyIGJ5dGVzLCBpbiBiYXNlNjQgICA=
    PRIVATE+KEY+log.example.org/orders+1b2c3d4e+AX…
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, SettingsError
from ledger_core.formats import mldsa44
from ledger_core.formats.ed25519 import SEED_BYTES, PrivateKey
from ledger_core.formats.vkey import (
    AnyWitnessSigner,
    LogKey,
    MldsaWitnessSigner,
    NoteSigner,
    WitnessSigner,
    check_named_by_key,
    format_skey,
    parse_skey,
)

_SECRET_BYTES = 32


class Keyring:
    """Derives the keys of each ledger, but for logs with a key of their ``own``.

    No secret leaves this object.
    """

    def __init__(self, secret: bytes, own: Iterable[NoteSigner] = ()) -> None:
        if len(secret) != _SECRET_BYTES:
            raise SettingsError(f"the service's secret must be {_SECRET_BYTES} bytes")
        self._secret = secret
        self._own = {signer.name: signer for signer in own}

    @property
    def own_log_keys(self) -> tuple[LogKey, ...]:
        """The logs' own keys, in the order of their lines."""
        return tuple(signer.public for signer in self._own.values())

    def log_signer(self, origin: str, generation: int = 0) -> NoteSigner:
        """Return the key that signs this ledger's checkpoints, after so many handovers.

        A key of the log's own is generation 0; it hands over to derived ones.
        """
        if generation == 0 and origin in self._own:
            return self._own[origin]
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

    def proxy(self, origin: str) -> PrivateKey:
        """Return the key that signs, in this ledger, calls which the service captured."""
        return self._derive("proxy", origin)

    def allowance_secret(self) -> bytes:
        """Return what names of allowances are made with: the same in every process."""
        return self._derive_seed("allowance", "")

    def service_name(self) -> str:
        """Return eight characters that tell this service from others, derived from its secret."""
        return self._derive("name", "").public_key.hex()[:8]

    def _derive(self, purpose: str, origin: str) -> PrivateKey:
        return PrivateKey(self._derive_seed(purpose, origin))

    def _derive_seed(self, purpose: str, name: str) -> bytes:
        info = f"ledgergrid/{purpose}-key@v1\n{name}\n".encode()
        return HKDF(SHA256(), SEED_BYTES, None, info).derive(self._secret)


# --- the file --------------------------------------------------------------------------


def format_keyring(secret: bytes, own: Iterable[NoteSigner] = ()) -> str:
    return "".join(f"{line}\n" for line in (ids.encode_base64(secret), *map(format_skey, own)))


def parse_keyring(text: str) -> tuple[bytes, tuple[NoteSigner, ...]]:
    """Return a keyring's secret and the logs' own keys. Errors never repeat the text."""
    first, *lines = text.split("\n")
    if not lines or lines.pop():
        raise MalformedError("a keyring is lines, and each has a line end")
    try:
        secret = ids.decode_base64(first, _SECRET_BYTES)
    except MalformedError:
        raise MalformedError(f"line 1 is not {_SECRET_BYTES} bytes in base64") from None
    own: dict[str, NoteSigner] = {}
    for number, line in enumerate(lines, 2):
        signer = _parse_own(number, line)
        if signer.name in own:
            raise MalformedError(f"line {number} is a second key for its origin")
        own[signer.name] = signer
    return secret, tuple(own.values())


def _parse_own(number: int, line: str) -> NoteSigner:
    try:
        signer = parse_skey(line)
        if not isinstance(signer, NoteSigner):
            raise MalformedError("this is a witness's key")
        check_log_key(signer.public)
    except MalformedError as error:
        raise MalformedError(f"line {number} is no log's private key: {error}") from None
    return signer


def check_log_key(key: LogKey) -> None:
    """Raise unless a log can sign with this key: its name is an origin, and of no other key."""
    ids.check_origin(key.name)
    check_named_by_key(key)


def open_keyring(path: Path) -> Keyring:
    """Read the keys in ``path``; make a secret, readable by its owner only, if there is none."""
    if not path.exists():
        text = format_keyring(secrets.token_bytes(_SECRET_BYTES))
        # The first of several processes wins.
        with _unnamed(path, text) as made, contextlib.suppress(FileExistsError):
            os.link(made, path)
    return Keyring(*_read(path))


def add_log_key(path: Path, signer: NoteSigner) -> None:
    """Keep a log's own key in a keyring that is there; it is durable on return."""
    check_log_key(signer.public)
    path = path.resolve()
    with _locked(path.parent):
        secret, own = _read(path)
        if any(each.name == signer.name for each in own):
            raise SettingsError(f"{path} holds a key for {signer.name}, and none is replaced")
        text = format_keyring(secret, (*own, signer))
        if len(text) > limits.KEYRING_BYTES:
            raise SettingsError(f"{path} would be larger than {limits.KEYRING_BYTES} bytes")
        # Whoever serves must still be able to read it, whoever runs this.
        with _unnamed(path, text, like=path.stat()) as made:
            made.rename(path)


def _read(path: Path) -> tuple[bytes, tuple[NoteSigner, ...]]:
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"{path} can be read by others: chmod 600 {path}")
    with path.open("rb") as file:
        raw = file.read(limits.KEYRING_BYTES + 1)
    if len(raw) > limits.KEYRING_BYTES:
        raise SettingsError(f"{path} is larger than {limits.KEYRING_BYTES} bytes")
    try:
        return parse_keyring(raw.decode("ascii"))
    except MalformedError as error:
        raise SettingsError(f"{path} is no keyring: {error}") from None
    except UnicodeDecodeError:
        # Its message holds what it could not decode.
        raise SettingsError(f"{path} is no keyring: it is not ASCII") from None


@contextmanager
def _unnamed(path: Path, text: str, like: os.stat_result | None = None) -> Iterator[Path]:
    """Write a file that its owner alone can read, durably; the caller gives it its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unnamed = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            if like is not None:
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield unnamed
    finally:
        unnamed.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change what is in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
