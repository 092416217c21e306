"""Content codings (RFC 9110 section 8.4): gzip, deflate, br, zstd, stacked, never past a bound.

Decoding works in small steps, so that a few bytes that stand for gigabytes are given up after the
bound and not after the gigabytes. ``deflate`` is read with zlib's header, as the RFC says, or
without it, as some servers send it. br and zstd need packages of their own, which an SDK alone is
installed without; without them these codings are unknown.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final, Protocol

from ledger_core import limits
from ledger_core.errors import MalformedError, TooLargeError

_GZIP_MAGIC: Final = 0x1F
_STEP_BYTES: Final = 1024 * 1024
_ZSTD_STEP_BYTES: Final = 256
"""A zstd block of three bytes makes 128 KiB: this much input makes some MiB at most."""
_ZSTD_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""RFC 9659: what a decoder of the web has to accept, and nobody may send more."""


def names(content_encoding: str | None) -> list[str]:
    """The codings in the order in which they were applied; identity is none."""
    told = [each.strip().lower() for each in (content_encoding or "").split(",")]
    found = [each for each in told if each not in ("", "identity")]
    if len(found) > limits.LLM_CODINGS:
        raise TooLargeError(f"more than {limits.LLM_CODINGS} content codings")
    return found


def decode(body: bytes, content_encoding: str | None) -> bytes:
    """Undo the content encoding of a whole body, up to ``limits.LLM_BODY_BYTES``."""
    if not content_encoding:
        return body
    decoder = Decoder(content_encoding)
    decoded = decoder.decode(body)
    if not decoder.ended:
        raise MalformedError(f"{content_encoding[:80]!r}: the body is cut off")
    return decoded


class Decoder:
    """Undoes a content encoding chunk by chunk; MalformedError is all that it raises.

    ``ended`` says whether every coding came to its end: a body that is not cut off.
    """

    def __init__(
        self, content_encoding: str | None, most_bytes: int = limits.LLM_BODY_BYTES
    ) -> None:
        codings = [_coding(each) for each in reversed(names(content_encoding))]
        self._codings = [_Bounded(each, most_bytes) for each in codings]

    @property
    def ended(self) -> bool:
        return all(each.ended for each in self._codings)

    def decode(self, chunk: bytes) -> bytes:
        """Undo all codings of the next bytes."""
        for coding in self._codings:
            chunk = coding.decode(chunk)
        return chunk


class _Coding(Protocol):
    """One coding being undone; what comes out at a time is no more than some MiB."""

    ended: bool
    errors: type[Exception]

    def pieces(self, data: bytes) -> Iterator[bytes]: ...


class _Bounded:
    """A coding that makes no more than so many bytes."""

    def __init__(self, coding: _Coding, most_bytes: int) -> None:
        self._coding = coding
        self._left_bytes = most_bytes

    @property
    def ended(self) -> bool:
        return self._coding.ended

    def decode(self, data: bytes) -> bytes:
        made = []
        try:
            for piece in self._coding.pieces(data):
                self._left_bytes -= len(piece)
                if self._left_bytes < 0:
                    raise TooLargeError("the decoded body is too large")
                made.append(piece)
        except self._coding.errors as error:
            raise MalformedError(f"content coding: {str(error)[:100]}") from None
        return b"".join(made)


def _coding(told: str) -> _Coding:
    match told:
        case "gzip" | "x-gzip":
            return _Gzip()
        case "deflate":
            return _Deflate()
        case "br":
            return _Brotli()
        case "zstd":
            return _Zstd()
    raise MalformedError(f"unknown content coding {told[:40]!r}")


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MalformedError(f"{name} is not installed") from None


def _inflate(inflating: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    while True:
        yield inflating.decompress(data, _STEP_BYTES)
        data = inflating.unconsumed_tail
        if not data:
            return


class _Gzip:
    """RFC 1952; several members follow each other."""

    errors: type[Exception] = zlib.error

    def __init__(self) -> None:
        self._inflating: zlib._Decompress | None = None
        self.ended = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflating is None:
                if self.ended and data[0] != _GZIP_MAGIC:
                    return  # padding, which everybody ignores
                self._inflating, self.ended = zlib.decompressobj(zlib.MAX_WBITS | 16), False
            yield from _inflate(self._inflating, data)
            if not self._inflating.eof:
                return
            data, self._inflating, self.ended = self._inflating.unused_data, None, True


class _Deflate:
    """RFC 1950, or RFC 1951 alone."""

    errors: type[Exception] = zlib.error

    def __init__(self) -> None:
        self._inflating: zlib._Decompress | None = None
        self._head = b""
        self.ended = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        if self._inflating is None:
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return
            wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inflating = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        yield from _inflate(self._inflating, data)
        self.ended = self._inflating.eof


class _Brotli:
    """RFC 7932."""

    def __init__(self) -> None:
        package: Any = _package("brotli")
        self._decompressor = package.Decompressor()
        self.errors = package.error
        self.ended = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        if self.ended:
            return
        yield self._decompressor.process(data, output_buffer_limit=_STEP_BYTES)
        while not self._decompressor.can_accept_more_data():
            yield self._decompressor.process(b"", output_buffer_limit=_STEP_BYTES)
        self.ended = self._decompressor.is_finished()


class _Zstd:
    """RFC 8878; several frames follow each other."""

    def __init__(self) -> None:
        package: Any = _package("zstandard")
        self._decompressor = package.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self.errors = package.ZstdError
        self._decompressing: Any = None
        self.ended = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _ZSTD_STEP_BYTES):
            yield from self._step(data[at : at + _ZSTD_STEP_BYTES])

    def _step(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._decompressing is None:
                self._decompressing, self.ended = self._decompressor.decompressobj(), False
            yield self._decompressing.decompress(data)
            if not self._decompressing.eof:
                return
            data, self._decompressing, self.ended = (
                self._decompressing.unused_data,
                None,
                True,
            )
