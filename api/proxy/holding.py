"""What of an answer may go to the client now, and what waits until its end is on the record.

An answer's last byte waits. In an event stream what tells a client that all was said waits: the
terminal event of the wire format, since no client reads on behind it. Everything else goes on as
it comes, in whole events; a piece of an event would be of no use to anybody.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol

import msgspec

from ledger_core.errors import MalformedError
from ledger_core.llm.asking_usage import unasked
from ledger_core.llm.codings import Decoder
from ledger_core.llm.dialects import DIALECTS, Wire
from ledger_core.llm.openai_chat import END

# Atomic groups: a line end of two characters is never read as two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_USAGE = b'"usage"'
_EVENT_BYTES = 8 * 1024 * 1024
"""A longer event goes on in pieces."""


class Holding(Protocol):
    """Takes what comes and gives what may go. ``is_last``: nothing is expected any more."""

    is_last: bool

    def take(self, chunk: bytes) -> bytes: ...

    def rest(self) -> bytes: ...


class LastByte:
    """Holds an answer's last byte; the whole of one that came at once, of a known length."""

    def __init__(self, length: int | None) -> None:
        self._left = length
        self._held = b""
        self.is_last = False

    def take(self, chunk: bytes) -> bytes:
        ready = self._held + chunk if self._held else chunk
        if self._left is not None:
            self._left -= len(chunk)
            if self._left <= 0:
                self._held = ready
                return b""
        self._held = ready[-1:]
        return ready[:-1]

    def rest(self) -> bytes:
        held, self._held = self._held, b""
        return held


class Nothing:
    """Holds nothing back: only the answer's end, which is no byte of it, can wait."""

    is_last = False

    def take(self, chunk: bytes) -> bytes:
        return chunk

    def rest(self) -> bytes:
        return b""


class _Event(msgspec.Struct):
    type: str | None = None


_EVENT = msgspec.json.Decoder(_Event)


@lru_cache(maxsize=16)
def _marks(wire: Wire, drops_usage: bool) -> re.Pattern[bytes]:
    """Return what stands in every event that has to be looked at, and in few others."""
    ends = [b'"%b"' % each.encode() for each in DIALECTS[wire].ends]
    told = [END, *ends, _USAGE] if drops_usage else [END, *ends]
    return re.compile(b"|".join(map(re.escape, told)))


class Events:
    """Holds the terminal event and all behind it; takes out the usage that only we asked for."""

    def __init__(self, wire: Wire, *, drops_usage: bool) -> None:
        self._last_types = DIALECTS[wire].ends
        self._drops_usage = drops_usage
        self._marks = _marks(wire, drops_usage)
        self._piece = b""
        self._held: list[bytes] = []
        self.is_last = False

    def take(self, chunk: bytes) -> bytes:
        if self.is_last:
            self._held.append(chunk)
            return b""
        ready = self._piece + chunk if self._piece else chunk
        end = _last_end(ready)
        self._piece = ready[end:]
        if len(self._piece) > _EVENT_BYTES:
            end, self._piece = len(ready), b""
        events = ready[:end]
        return self._sift(events) if self._marks.search(events) else events

    def _sift(self, events: bytes) -> bytes:
        """Look at each event: let it go, or hold it and all that follow."""
        kept: list[bytes] = []
        start = 0
        while start < len(events):
            end = _first_end(events, start)
            event = events[start:end]
            if self._marks.search(event):
                data = _data_of(event)
                if self._ends_with(data):
                    self.is_last = True
                    self._held += [events[start:], self._piece]
                    self._piece = b""
                    break
                event = self._told(event, data)
            kept.append(event)
            start = end
        return b"".join(kept)

    def _ends_with(self, data: bytes) -> bool:
        """Say whether an event is the last one."""
        if data.strip() == END:
            return True
        if not self._last_types:
            return False
        try:
            return _EVENT.decode(data).type in self._last_types
        except (ValueError, RecursionError):
            return False

    def _told(self, event: bytes, data: bytes) -> bytes:
        return unasked(event, data) if self._drops_usage and _USAGE in data else event

    def rest(self) -> bytes:
        if not self.is_last and self._piece:
            self._held = [self._told(self._piece, _data_of(self._piece))]
        held = b"".join(self._held)
        self._held, self._piece = [], b""
        return held


class Coded:
    """Holds the piece of a compressed stream in which the terminal event comes, and what follows.

    A coding has no place to cut but between the pieces that came.
    """

    def __init__(self, decoder: Decoder, events: Events) -> None:
        self._decoder: Decoder | None = decoder
        self._events = events
        self._held: list[bytes] = []
        self.is_last = False

    def take(self, chunk: bytes) -> bytes:
        self.is_last = self.is_last or self._is_last_in(chunk)
        if not self.is_last:
            return chunk
        self._held.append(chunk)
        return b""

    def _is_last_in(self, chunk: bytes) -> bool:
        if self._decoder is None:
            return False
        try:
            self._events.take(self._decoder.decode(chunk))
        except MalformedError:
            self._decoder = None  # It is the client's to read; the end of the response still waits.
        return self._events.is_last

    def rest(self) -> bytes:
        held, self._held = b"".join(self._held), []
        return held


def _first_end(data: bytes, start: int) -> int:
    """Return where an event ends that begins at ``start``."""
    if b"\r" not in data:
        end = data.find(b"\n\n", start)
        return len(data) if end < 0 else end + 2
    found = _BLANK_LINE.search(data, start)
    return found.end() if found else len(data)


def _last_end(data: bytes) -> int:
    """Return where the last whole event ends."""
    if data.endswith(b"\n\n"):
        return len(data)
    end = 0
    # A carriage return at the end may be half of a line end.
    for found in _BLANK_LINE.finditer(data, 0, len(data) - data.endswith(b"\r")):
        end = found.end()
    return end


def _data_of(event: bytes) -> bytes:
    """Return an event's data (WHATWG HTML, server-sent events, section 9.2.6)."""
    if event.startswith(b"data: ") and event.find(b"\n\n") == len(event) - 2:
        line = event[6:-2]
        if b"\n" not in line and b"\r" not in line:
            return line  # As nearly all are.
    lines = (line for line in _LINE_END.split(event) if line.startswith(b"data"))
    fields = (line[4:] for line in lines if line[4:5] in (b"", b":"))
    return b"\n".join(field[1:].removeprefix(b" ") for field in fields)


def holding_for(
    wire: Wire, media_type: str, encoding: str, length: int | None, *, drops_usage: bool
) -> Holding:
    """Choose by what the upstream says of its answer."""
    if not media_type.lower().startswith("text/event-stream"):
        return LastByte(length)
    if encoding.lower() in ("", "identity"):
        return Events(wire, drops_usage=drops_usage)
    try:
        return Coded(Decoder(encoding), Events(wire, drops_usage=False))
    except MalformedError:
        return Nothing()
