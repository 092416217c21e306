"""Files that survive a crash: written whole or not at all, and locked between processes."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger_core.errors import IntegrityError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_LITTER = ".tmp"
_LITTER_AGE_S = 3600


def make_folder(folder: Path) -> Path:
    """Make a folder only its owner can enter, with all above it."""
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    return folder


def write_durably(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Put ``data`` at ``path`` so that after any crash it is there whole, or as it was before.

    With ``replace=False`` a file already there raises :class:`FileExistsError`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_LITTER}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_at(path: Path, offset: int, data: bytes) -> None:
    """Put ``data`` into a file, made if need be; :func:`make_durable` has it survive a crash."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.seek(offset)
        file.write(data)


def make_durable(paths: Iterable[Path]) -> None:
    """Return once what was written to these files survives a crash."""
    folders = set()
    for path in paths:
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        folders.add(path.parent)
    for folder in folders:
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # Windows opens no folders; its renames are journaled.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a file of at most ``limit`` bytes."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise IntegrityError(f"{path} is larger than {limit} bytes")
    return data


def sweep(folder: Path) -> None:
    """Remove what writers killed long ago left half-written."""
    for path in folder.glob(f".*{_LITTER}"):
        try:
            if time.time() - path.stat().st_mtime > _LITTER_AGE_S:
                path.unlink()
        except FileNotFoundError:
            continue  # Its writer lives, and has just finished.


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold ``path`` as a lock against other threads and processes. Keep it short."""
    with path.open("ab") as file:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX)  # Let go when the file is closed.
        yield
