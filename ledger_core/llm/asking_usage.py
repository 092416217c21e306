"""Asking a chat completion's stream to tell its usage, by the smallest change to the bytes.

Only ``stream_options.include_usage`` is set; every other byte of the request stays what and where
it was, so that whatever the provider makes of them it goes on making. What comes of it is taken out
of the answer in the same way.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ledger_core import limits

_OPEN: Final = re.compile(rb"[ \t\r\n]*\{[ \t\r\n]*")
_SPACE: Final = rb"[ \t\r\n]*"
_OPTIONS: Final = re.compile(rb'"stream_options"' + _SPACE + rb":" + _SPACE)
_REFUSED: Final = re.compile(rb'("include_usage"' + _SPACE + rb":" + _SPACE + rb")(?:false|null)")
_ASKED: Final = b'"include_usage":true'

_USAGE: Final = b'"usage"'
_NO_USAGE: Final = re.compile(
    rb',[ \t]*"usage"[ \t]*:[ \t]*null(?=[ \t]*[,}])'
    rb'|(?<=\{)[ \t]*"usage"[ \t]*:[ \t]*null[ \t]*,[ \t]*'
)

_Fields = dict[str, msgspec.Raw]


def ask_for_usage(body: bytes) -> bytes | None:
    """Set ``stream_options.include_usage``; None if it is set, or cannot be set safely.

    Bytes that are not exactly JSON as RFC 8259 has it are left alone, as are requests that do not
    stream, and those with more than one thing called ``stream_options``.
    """
    if len(body) > limits.LLM_BODY_BYTES:
        return None
    fields = _fields(body)
    if fields is None or fields.get("stream") != msgspec.Raw(b"true"):
        return None
    told = fields.get("stream_options")
    asking = _insert(body) if told is None else _replace(body, bytes(told))
    if asking is None or not _same_but_for_usage(fields, _fields(asking)):
        return None
    return asking


class _Chunk(msgspec.Struct):
    choices: msgspec.Raw = msgspec.Raw(b"")
    usage: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"null")


_CHUNK: Final = msgspec.json.Decoder(_Chunk)


def unasked(event: bytes, data: bytes) -> bytes:
    """Return an event as it would have come if usage had not been asked for.

    The one that tells it is nothing then. All others have a ``"usage": null`` that they would not
    have; every other byte stays where it was. ``data`` is the event's.
    """
    try:
        chunk = _CHUNK.decode(data)
    except (ValueError, RecursionError):
        return event
    if bytes(chunk.usage) == b"null":
        places = list(_NO_USAGE.finditer(event))
        if len(places) != 1 or event.count(_USAGE) != 1:
            return event
        return event[: places[0].start()] + event[places[0].end() :]
    tells_nothing_else = bytes(chunk.choices).translate(None, b" \t\r\n") == b"[]"
    is_usage = bytes(chunk.usage).startswith(b"{") and bytes(chunk.error) == b"null"
    return b"" if tells_nothing_else and is_usage else event


def _fields(body: bytes) -> _Fields | None:
    try:
        return msgspec.json.decode(body, type=_Fields)
    except (ValueError, RecursionError):
        return None


def _insert(body: bytes) -> bytes | None:
    opened = _OPEN.match(body)
    if opened is None:
        return None
    return body[: opened.end()] + b'"stream_options":{' + _ASKED + b"}," + body[opened.end() :]


def _replace(body: bytes, told: bytes) -> bytes | None:
    places = list(_OPTIONS.finditer(body))
    if len(places) != 1 or not body.startswith(told, places[0].end()):
        return None
    start = places[0].end()
    changed = _change(told)
    return changed and body[:start] + changed + body[start + len(told) :]


def _change(told: bytes) -> bytes | None:
    if told == b"null":
        return b"{" + _ASKED + b"}"
    options = _fields(told)
    if options is None or options.get("include_usage") == msgspec.Raw(b"true"):
        return None
    if "include_usage" in options:
        changed, places = _REFUSED.subn(rb"\1true", told)
        return changed if places == 1 else None
    return b"{" + _ASKED + (b"," if options else b"") + told[1:]


def _same_but_for_usage(before: _Fields, after: _Fields | None) -> bool:
    if after is None:
        return False
    options = _fields(bytes(after.get("stream_options", msgspec.Raw(b""))))
    if options is None or options.get("include_usage") != msgspec.Raw(b"true"):
        return False
    names = [each for each in before if each != "stream_options"]
    return len(after) == len(names) + 1 and all(before[each] == after[each] for each in names)
