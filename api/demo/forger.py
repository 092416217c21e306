"""What the demo does to archives: compares the bodies in one, and forges a copy."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from api.demo.exchanges import body_bytes
from ledger_core.formats.archive import Frame, format_frame, payloads_name, read_frames
from ledger_core.formats.record import Part

_FIRST = payloads_name(0)


def compare_bodies(archive: Path, recorded: Iterable[Mapping[str, Any]]) -> int:
    """Compare every body in the archive with its recording; return how many there were."""
    expected = [
        (name, body_bytes(each[name])) for each in recorded for name in ("request", "response")
    ]
    found = [
        (frame.name, frame.part.data)
        for frame in _frames(archive)
        if frame.name in ("request", "response") and frame.part is not None
    ]
    if found != expected:
        raise SystemExit("a body in the archive is not the one that was recorded")
    return len(found)


def bodies(archive: Path, name: str | None = None) -> Iterator[bytes]:
    """Yield what stands in an archive's payload parts, or in those of one name."""
    for frame in _frames(archive):
        if frame.part is not None and name in (None, frame.name):
            yield frame.part.data


def change_one_byte(archive: Path, forged: Path) -> str:
    """Copy an archive with the last byte of one payload changed; say which."""
    frames = list(_frames(archive))
    target = next(frame for frame in frames if frame.name == "response" and frame.part)
    _copy(archive, forged, (_change(frame, target) for frame in frames))
    return f"in the answer of entry {target.index}"


def change_text(archive: Path, forged: Path, before: bytes, after: bytes) -> None:
    """Copy an archive with other words in every payload that has them."""
    _copy(archive, forged, (_reword(frame, before, after) for frame in _frames(archive)))


def _copy(archive: Path, forged: Path, payloads: Iterable[bytes]) -> None:
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(forged, "w") as copy:
        for name in source.namelist():
            copy.writestr(name, b"".join(payloads) if name == _FIRST else source.read(name))


def _change(frame: Frame, target: Frame) -> bytes:
    raw = format_frame(frame)
    return raw[:-1] + bytes([raw[-1] ^ 1]) if frame == target else raw


def _reword(frame: Frame, before: bytes, after: bytes) -> bytes:
    if frame.part is not None:
        part = Part(frame.part.salt, frame.part.data.replace(before, after))
        frame = Frame(frame.index, frame.name, part)
    return format_frame(frame)


def _frames(archive: Path) -> Iterable[Frame]:
    with zipfile.ZipFile(archive) as source, source.open(_FIRST) as stream:
        yield from read_frames(stream)  # type: ignore[arg-type]
