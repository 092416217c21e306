"""What of an answer may go to the client now, and what waits until its end is on the record.

An answer's last byte waits. In an event stream what tells a client that all was said waits: the
terminal event of the wire format, since no client reads on behind it. Everything else goes on as
it comes, in whole events; a piece of an event would be of no use to anybody.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

import msgspec

# Atomic groups: a line end of two characters is never read as two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_MARK = re.compile(rb'\[DONE\]|message_stop|response\.(?:completed|failed|incomplete)|"usage"')
_EVENT_BYTES = 8 * 1024 * 1024
"""A longer event goes on in pieces."""

_LAST_TYPES = {
    "anthropic.messages": frozenset({"message_stop"}),
    "openai.responses": frozenset({"response.completed", "response.failed", "response.incomplete"}),
}
STREAMED = frozenset({"openai.chat", *_LAST_TYPES})
"""Wire formats whose streams have a terminal event."""


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
    choices: Any = None
    usage: Any = None


_EVENT = msgspec.json.Decoder(_Event)


class Events:
    """Holds the terminal event and all behind it; drops the usage that only we asked for."""

    def __init__(self, wire: str, *, drops_usage: bool) -> None:
        self._last_types = _LAST_TYPES.get(wire, frozenset())
        self._knows_done = wire == "openai.chat"
        self._drops_usage = drops_usage
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
        return self._sift(events) if _MARK.search(events) else events

    def _sift(self, events: bytes) -> bytes:
        """Look at each event: let it go, drop it, or hold it and all that follow."""
        kept: list[bytes] = []
        start = 0
        while start < len(events):
            found = _BLANK_LINE.search(events, start)
            end = found.end() if found else len(events)
            verdict = self._judge(events[start:end])
            if verdict == "last":
                self.is_last = True
                self._held += [events[start:], self._piece]
                self._piece = b""
                break
            if verdict == "goes":
                kept.append(events[start:end])
            start = end
        return b"".join(kept)

    def _judge(self, event: bytes) -> str:
        data = _data_of(event)
        if self._knows_done and data.strip() == b"[DONE]":
            return "last"
        if not _MARK.search(data):
            return "goes"
        try:
            read = _EVENT.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return "goes"
        if read.type in self._last_types:
            return "last"
        is_usage = read.choices == [] and read.usage is not None
        return "dropped" if self._drops_usage and is_usage else "goes"

    def rest(self) -> bytes:
        held = b"".join(self._held) + self._piece
        self._held, self._piece = [], b""
        if self._drops_usage and not self.is_last and self._judge(held) == "dropped":
            return b""
        return held


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
    lines = (line for line in _LINE_END.split(event) if line.startswith(b"data"))
    fields = (line[4:] for line in lines if line[4:5] in (b"", b":"))
    return b"\n".join(field[1:].removeprefix(b" ") for field in fields)


def holding_for(
    wire: str, media_type: str, encoding: str, length: int | None, *, drops_usage: bool
) -> Holding:
    """Choose by what the upstream says of its answer."""
    if media_type.lower().startswith("text/event-stream"):
        is_plain = encoding.lower() in ("", "identity")
        if is_plain and wire in STREAMED:
            return Events(wire, drops_usage=drops_usage)
        return Nothing()
    return LastByte(length)
