"""The text that a call is found by: what is new in its request, what was answered, and tools.

Of a request that is stored as a difference only the difference counts, so a conversation is not
found once for each of its turns. System prompt and earlier messages are in the request that
stands whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ledger_core.errors import LedgerGridError, StorageError
from ledger_core.formats.record import Part, PartRef
from ledger_core.llm import frames
from ledger_core.llm.wire import parse_request, parse_response, wire_of
from ledger_core.policy.calls import PART
from ledger_core.storage.call_search import CallText
from ledger_core.viewing import Seen
from ledger_core.words import fold

TEXT_CHARS = 64 * 1024
_LONGEST = 16 * 1024
"""Of one piece: pictures come as text too."""
_SEGMENT = re.compile(rb'((?:[^"\\]|\\.)*+)(?:"|\\?\Z)', re.DOTALL)
_STRUCTURE = re.compile(rb"[][{}:,0-9.eE+\-truefalsn \t\r\n]*")
_CUT_OFF = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_NO_PROSE = frozenset({"text", "user", "assistant", "system", "tool", "function", "developer"})


def call_text(index: int, end_index: int | None, said: Mapping[int, str]) -> CallText:
    """Return the words of a call, given those of its entries."""
    if end_index is None or end_index == index:
        return CallText(index, said[index])
    return CallText(end_index, said[end_index], said[index])


def words_of(seen: Seen, opened: Mapping[str, Part | object]) -> str:
    """Return the words of an entry of a call; none where any part of it is gone."""
    parts = {name: part.data for name, part in opened.items() if isinstance(part, Part)}
    if len(parts) < len(opened):
        return ""
    data = parts.get(PART[seen.record.type])
    if data is None:
        raise StorageError(f"entry {seen.index} says nothing of its call")
    return fold(text_of(msgspec.json.decode(data), seen.record.payload, parts))


def text_of(
    said: Mapping[str, Any], payload: Mapping[str, PartRef], parts: Mapping[str, bytes]
) -> str:
    """Return what an entry of a call is found by; ``parts`` are those that are there."""
    pieces: list[str] = []
    wire = said.get("wire") or wire_of(said.get("path") or "")
    request = parts.get("request")
    if request is not None and payload["request"].media_type == frames.MEDIA_TYPE:
        pieces += _new(request)
    elif request is not None:
        media = said.get("media_type") or said.get("request_media_type")
        coding = said.get("content_encoding") or said.get("request_encoding")
        asked = parse_request(wire, request, media, coding)
        pieces += [asked.system_prompt or "", *_strings(asked.messages)]
        pieces += _strings(asked.tool_results)
    response = parts.get("response")
    if response is not None:
        answered = parse_response(
            wire,
            said.get("status_code") or 200,
            response,
            said.get("response_media_type"),
            said.get("response_encoding"),
        )
        pieces += [answered.content or "", answered.reasoning or "", answered.refusal or ""]
        for call in answered.tool_calls:
            pieces += [call.name or "", *_strings(call.arguments)]
    pieces += [text for name in _SAID if said.get(name) for text in _strings(said[name])]
    return bounded(pieces)


_SAID = (
    "messages", "system_prompt", "content", "tool_calls", "tool_results", "tool_names",
    "error_detail", "message",
)  # fmt: skip


def bounded(pieces: list[str]) -> str:
    """Join pieces; of too much text the end, which is what is newest."""
    text = "\n".join(piece[:_LONGEST] for piece in pieces if piece)
    return text[-TEXT_CHARS:]


def _new(stored: bytes) -> list[str]:
    """Return the texts of a difference: a piece of JSON that may begin and end in mid-text."""
    try:
        middle = frames.parse_frame(stored).middle
    except LedgerGridError:
        return []  # Nothing can be read of it; whoever opens the call is told so.
    segments = [found[1] for found in _SEGMENT.finditer(middle)]
    # Every other segment is text. Which ones, the others tell: they hold nothing but JSON.
    is_begun = not all(map(_STRUCTURE.fullmatch, segments[0::2]))
    texts = segments[0 if is_begun else 1 :: 2]
    behind = [*segments[1 if is_begun else 2 :: 2], b""]
    found = (_unescape(x) for x, after in zip(texts, behind, strict=False) if after[:1] != b":")
    return [text for text in found if text and text not in _NO_PROSE]


def _unescape(raw: bytes) -> str:
    """Decode a JSON text that may be cut off at both ends."""
    text = _CUT_OFF.sub("", raw.decode("utf-8", "ignore"))
    try:
        found: str = json.loads(f'"{text}"', strict=False)
    except ValueError:
        return text
    return found


def _strings(value: Any) -> Iterator[str]:
    """Yield the texts in a value, in order, without names of fields and kinds."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            if each not in _NO_PROSE:
                yield each
        elif isinstance(each, list | tuple):
            waiting += reversed(each)
        elif isinstance(each, dict):
            waiting += [of for name, of in reversed(each.items()) if name not in _KINDS]


_KINDS = frozenset({"type", "role", "id", "tool_call_id", "tool_use_id", "cache_control", "data"})
