"""Searches every file of a folder for bytes that must not be there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def find_in(folder: Path, wanted: bytes) -> list[str]:
    return [str(file.relative_to(folder)) for file in files_of(folder) if wanted in read(file)]


def files_of(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file())


def read(file: Path) -> bytes:
    """Read a file of a server that works on: what is gone meanwhile holds nothing."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
