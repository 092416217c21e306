"""Opens an archive, a zip file or a folder, as if its maker were an enemy.

Sizes that an archive declares are upper bounds to hold it to, never sizes to allocate. Names are
plain relative paths; what lies outside the folder cannot be reached, and links are refused.
Every byte passes through :class:`MeteredFile`, which hashes and counts.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Final, Protocol

from ledger_core import ids, limits
from ledger_core.errors import LedgerGridError, MalformedError, TooLargeError
from ledger_core.formats.archive import File

CHUNK_BYTES: Final = 64 * 1024
NAME_CHARS: Final = 200
FOLDER_DEPTH: Final = 8
DIRECTORY_BYTES: Final = 256 * 1024 * 1024
"""Largest central directory of a zip file: ARCHIVE_FILES of them, each with a long name."""

_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]+(?:/(?!\.)[A-Za-z0-9._-]+)*")
_END = b"PK\x05\x06"
_END_BYTES = 22
_LOCATOR_BYTES = 20
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1


class DamagedError(LedgerGridError):
    """A file of the archive differs from what the manifest says of it."""

    code = "damaged"
    title = "File is not the one that was exported"

    def __init__(self, field: str, expected: str, found: str) -> None:
        super().__init__(f"{field} is {found}, not {expected}")
        self.field, self.expected, self.found = field, expected, found


class Source(Protocol):
    """Named files, each opened for reading once from its beginning to its end."""

    def names(self) -> list[str]: ...

    def open(self, name: str) -> IO[bytes]: ...

    def close(self) -> None: ...


def open_source(path: Path) -> Source:
    """Open a folder or zip file and check the names in it; raise :class:`MalformedError`."""
    source: Source = FolderSource(path) if path.is_dir() else ZipSource(path)
    try:
        _check_names(source.names())
    except MalformedError:
        source.close()
        raise
    return source


def _check_names(names: list[str]) -> None:
    if len(names) > limits.ARCHIVE_FILES:
        raise TooLargeError(f"archive has more than {limits.ARCHIVE_FILES} files")
    for name in names:
        if len(name) > NAME_CHARS or not _NAME.fullmatch(name):
            raise MalformedError(f"file name {name[:80]!r} is not a plain relative path")
    if len({name.casefold() for name in names}) != len(names):
        raise MalformedError("archive has two files of the same name")


class FolderSource:
    """The files below a folder. Links and special files are refused, not followed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = sorted(self._walk(path, "", 0))

    def _walk(self, folder: Path, prefix: str, depth: int) -> Iterator[str]:
        if depth > FOLDER_DEPTH:
            raise TooLargeError(f"archive has folders more than {FOLDER_DEPTH} deep")
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                if count > limits.ARCHIVE_FILES:
                    raise TooLargeError(f"archive has more than {limits.ARCHIVE_FILES} files")
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(Path(entry.path), f"{name}/", depth + 1)
                elif entry.is_file(follow_symlinks=False):
                    yield name
                else:
                    raise MalformedError(f"{name[:80]!r} is a link or a special file")

    def names(self) -> list[str]:
        return self._names

    def open(self, name: str) -> IO[bytes]:
        # The folder may change while we read: what became a link since is refused here.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        return io.FileIO(os.open(self._path / name, flags), "rb")

    def close(self) -> None:
        """Nothing is kept open."""


class ZipSource:
    """The files in a zip file: stored or deflated, in the clear, not overlapping."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            _check_directory(self._file)
            self._zip = zipfile.ZipFile(self._file)
            self._members = self._zip.infolist()
            _check_members(self._members)
        except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError) as error:
            self._file.close()
            raise MalformedError(f"not a zip file that can be read: {error}") from None
        except MalformedError:
            self._file.close()
            raise

    def names(self) -> list[str]:
        return [member.orig_filename for member in self._members]

    def open(self, name: str) -> IO[bytes]:
        return self._zip.open(name)

    def close(self) -> None:
        self._zip.close()
        self._file.close()


def _check_directory(file: IO[bytes]) -> None:
    """Refuse a central directory that would fill memory before we see what is in it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES - _LOCATOR_BYTES))
    tail = file.read()
    end = tail[-_END_BYTES:]
    if not end.startswith(_END) or end[-2:] != b"\0\0":
        raise MalformedError("not a zip file: it does not end in its directory's end record")
    directory_bytes = int.from_bytes(end[12:16], "little")
    if directory_bytes == 0xFFFFFFFF:
        file.seek(int.from_bytes(tail[8:16], "little"))
        directory_bytes = int.from_bytes(file.read(56)[40:48], "little")
    if directory_bytes > DIRECTORY_BYTES:
        raise TooLargeError(f"zip directory is larger than {DIRECTORY_BYTES} bytes")
    file.seek(0)


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    free_from = 0
    for member in sorted(members, key=lambda each: each.header_offset):
        name = member.orig_filename
        kind = member.external_attr >> 16
        if member.flag_bits & _ENCRYPTED:
            raise MalformedError(f"{name[:80]!r} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise MalformedError(f"{name[:80]!r} is neither stored nor deflated")
        if member.is_dir() or (stat.S_IFMT(kind) and not stat.S_ISREG(kind)):
            raise MalformedError(f"{name[:80]!r} is a link, a folder or a special file")
        if member.header_offset < free_from or (free_from == 0 and member.header_offset):
            raise MalformedError(f"{name[:80]!r} overlaps another file, or hides something")
        free_from = member.header_offset + _LOCAL_HEADER_BYTES + member.compress_size


class MeteredFile(io.RawIOBase):
    """Reads through, counts and hashes; stops one byte after ``limit``."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file, self._limit = file, limit
        self.size = 0
        self._hash = sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        room = min(len(buffer), self._limit + 1 - self.size)
        try:
            data = self._file.read(room) if room > 0 else b""
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DamagedError("compressed content", "readable", str(error)) from None
        self._hash.update(data)
        self.size += len(data)
        buffer[: len(data)] = data
        return len(data)

    def digest(self) -> str:
        return ids.format_digest(self._hash.digest())


@contextmanager
def reading(source: Source, file: File) -> Iterator[IO[bytes]]:
    """Open one file of the manifest; at the end read the rest and check size and digest.

    Raises :class:`DamagedError`, after whatever the block itself raised.
    """
    with _open_metered(source, file.name, file.size) as (metered, buffered):
        yield buffered
        while buffered.read(CHUNK_BYTES):
            pass
        if metered.size != file.size:
            more = "more than " if metered.size > file.size else ""
            found = f"{more}{min(metered.size, file.size)}"
            raise DamagedError(f"size of {file.name}", f"{file.size} bytes", found)
        if metered.digest() != file.digest:
            raise DamagedError(f"digest of {file.name}", file.digest, metered.digest())


def read_small(source: Source, name: str, limit: int) -> bytes:
    """Read a whole file of at most ``limit`` bytes."""
    with _open_metered(source, name, limit) as (_, buffered):
        data = buffered.read(limit + 1)
    if len(data) > limit:
        raise TooLargeError(f"{name} is larger than {limit} bytes")
    return data


@contextmanager
def _open_metered(source: Source, name: str, limit: int) -> Iterator[tuple[MeteredFile, IO[bytes]]]:
    try:
        file = source.open(name)
    except (KeyError, FileNotFoundError):
        raise MalformedError(f"archive has no {name}") from None
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise DamagedError(name, "readable", str(error)) from None
    with file:
        metered = MeteredFile(file, limit)
        with io.BufferedReader(metered, CHUNK_BYTES) as buffered:
            yield metered, buffered
