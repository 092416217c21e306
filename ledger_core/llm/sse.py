"""Server-sent events, parsed as the WHATWG HTML Standard says, from chunks cut anywhere.

::

    : a comment                       ignored
    event: message_stop               the event's type, "message" if there is none
    data:{"a":1}                      one space after the colon is dropped, if there
    data: more                        several lines are joined with a line feed
                                      a blank line ends the event

A line ends with LF, CRLF or CR, and with nothing else: U+2028 inside JSON is text. One byte order
mark at the start is skipped. Events without data are not events. Data stay bytes: UTF-8 that was
cut in two by a chunk boundary is whole again, and JSON readers want bytes.

Every event knows its bytes: ``start`` is the offset of its first line (comments and empty lines
before it belong to it), ``end`` the offset behind the blank line that ends it.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ledger_core import limits

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class Event(msgspec.Struct, frozen=True):
    """One event and where it stood in the stream."""

    kind: str
    data: bytes
    start: int
    end: int


class Parser:
    """Bytes in, events out; the same events however the bytes are cut.

    ``settled`` is the offset behind the last blank line: what follows is an event not yet whole.
    ``overlong`` counts events larger than ``limits.LLM_EVENT_BYTES``, which are not given out.
    """

    def __init__(self) -> None:
        self.settled = 0
        self.overlong = 0
        self._read = 0
        self._returned = False  # the last byte was a CR, perhaps one half of a CRLF
        self._begun = False
        self._line: list[bytes] = []
        self._kind = b""
        self._data: list[bytes] = []
        self._line_bytes = 0
        self._event_bytes = 0
        self._dropped = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes, and give out the events that they complete."""
        if not chunk:
            return []
        if self._returned:
            chunk = b"\r" + chunk
        self._returned = chunk.endswith(b"\r")
        if self._returned:
            chunk = chunk[:-1]
        events = self._plain(chunk) if self.settled == self._read else []
        at = 0
        if events:
            at = events[-1].end - self._read
            self._begun = True
            self._read = self.settled = events[-1].end
        for end in _LINE_END.finditer(chunk, at):
            self._hold(chunk[at : end.start()])
            self._read += end.end() - at
            at = end.end()
            if self._end_line() and (event := self._end_event()):
                events.append(event)
        self._hold(chunk[at:])
        self._read += len(chunk) - at
        return events

    def _plain(self, chunk: bytes) -> list[Event]:
        """Read events as nearly all are, of a data line alone or behind its type, up to another."""
        events: list[Event] = []
        at = 0
        while chunk.startswith((b"data: ", b"event: "), at):
            end = chunk.find(b"\n\n", at)
            if end < 0 or end - at > limits.LLM_EVENT_BYTES:
                break
            lines = chunk[at:end].split(b"\n")
            kind = "message"
            if len(lines) == 2 and lines[0][:7] == b"event: " and len(lines[0]) > 7:
                kind = lines.pop(0)[7:].decode("utf-8", "replace")
            if len(lines) != 1 or lines[0][:6] != b"data: " or b"\r" in chunk[at:end]:
                break
            events.append(Event(kind, lines[0][6:], self._read + at, self._read + end + 2))
            at = end + 2
        return events

    def close(self) -> Event | None:
        """Give out what a stream that ended without its last blank line had begun.

        The standard discards it; the clients of language models do not, so neither do we.
        """
        self._read += self._returned
        self._returned = False
        self._end_line()
        return self._end_event()

    def _hold(self, piece: bytes) -> None:
        self._line_bytes += len(piece)
        self._event_bytes += len(piece)
        if self._event_bytes > limits.LLM_EVENT_BYTES:
            self._dropped = True
            self._line.clear()
            self._data.clear()
        elif piece:
            self._line.append(piece)

    def _end_line(self) -> bool:
        """Take the line; True if it was blank."""
        line = b"".join(self._line)
        whole = len(line) == self._line_bytes
        self._line.clear()
        self._line_bytes = 0
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if not line:
            return whole
        field, _, value = line.partition(b":")
        if self._dropped:
            return False
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._kind = value.removeprefix(b" ")
        return False

    def _end_event(self) -> Event | None:
        start, self.settled = self.settled, self._read
        kind, data, dropped = self._kind, self._data, self._dropped
        self._kind, self._data, self._dropped, self._event_bytes = b"", [], False, 0
        if dropped:
            self.overlong += 1
            return None
        if not data:
            return None
        kind_text = kind.decode("utf-8", "replace") or "message"
        return Event(kind_text, b"\n".join(data), start, self._read)


def parse(stream: bytes) -> list[Event]:
    """Read a whole stream, its last event included though no blank line ends it."""
    parser = Parser()
    events = parser.feed(stream)
    last = parser.close()
    return [*events, last] if last else events
