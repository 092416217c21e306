"""What was asked and answered in a call, read out of the bytes that its entries hold.

Whatever a part cannot be read for is told by its status: ``erased``, ``redacted``, ``withheld`` or
``missing``; ``absent``: it never was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from api.sight import PartStatus
from ledger_core.errors import LedgerGridError, NotFoundError
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import Record, parse_record
from ledger_core.llm.model import Answered, Asked, ToolCall
from ledger_core.llm.wire import parse_request, parse_response, wire_of
from ledger_core.policy.calls import PART
from ledger_core.storage.store import StoredEntry

Json = dict[str, Any]
Resolve = Callable[[bytes, "Seen"], bytes]
"""Returns a whole request from what is stored of it at an entry."""


@dataclass(frozen=True)
class Seen:
    """An entry of a call as its reader sees it."""

    entry: StoredEntry
    record: Record
    parts: Mapping[str, PartStatus]

    def bytes_of(self, name: str) -> bytes | None:
        """Return a part that the reader sees."""
        status = self.parts.get(name)
        part = self.entry.parts.get(name)
        if status is None or status.status != "present" or part is None:
            return None
        return part.data

    def status_of(self, name: str) -> str:
        status = self.parts.get(name)
        if status is None:
            return "absent"
        if status.status == "present" and name not in self.entry.parts:
            return "missing"  # Its key is gone, though its bytes are there.
        return status.status

    def said(self) -> Json | None:
        """Return what the entry says of the call, if its reader sees that."""
        data = self.bytes_of(PART[self.record.type])
        return None if data is None else _object(data)


def _object(data: bytes) -> Json:
    found: Json = msgspec.json.decode(data)
    return found


def see(entry: StoredEntry, parts: Mapping[str, PartStatus]) -> Seen:
    return Seen(entry, parse_record(parse_entry(entry.leaf).record), parts)


@dataclass(frozen=True)
class Content:
    """What was said in a call. ``problems``: what could not be read, by part."""

    asked: Asked | None = None
    answered: Answered | None = None
    said: Json = field(default_factory=dict)
    request_status: str = "absent"
    response_status: str = "absent"
    problems: Mapping[str, str] = field(default_factory=dict)
    request_bytes: int = 0
    response_bytes: int = 0

    def fields(self) -> Json:
        """Return the fields of a call that are read out of its bytes, by their usual names."""
        asked, answered = self.asked or Asked(), self.answered or Answered()
        made: Json = {
            "messages": asked.messages,
            "system_prompt": asked.system_prompt,
            "tools": asked.tools,
            "tool_results": asked.tool_results,
            "tool_calls": [show_tool(each) for each in answered.tool_calls] or None,
            "content": answered.content,
            "reasoning": answered.reasoning,
            "refusal": answered.refusal,
            "citations": list(answered.citations),
            "choices": [_choice(each) for each in answered.choices],
        }
        # What was recorded directly may say all this itself.
        given = {name: self.said[name] for name in _GIVEN if self.said.get(name) is not None}
        return made | given


_GIVEN = ("messages", "system_prompt", "tools", "tool_results", "tool_calls", "content")


def show_tool(call: ToolCall) -> Json:
    return {"id": call.id, "name": call.name, "arguments": call.arguments, "kind": call.kind}


def _choice(choice: Any) -> Json:
    made: Json = msgspec.to_builtins(choice)
    return made


def read_content(start: Seen | None, end: Seen | None, said: Json, resolve: Resolve) -> Content:
    """Read request and response of a call, as far as its reader sees them."""
    asking = start if start is not None else end
    problems: dict[str, str] = {}
    wire = said.get("wire") or wire_of(said.get("path") or "")
    request_status = "absent" if asking is None else asking.status_of("request")
    asked, request_bytes = None, 0
    raw = None if asking is None else asking.bytes_of("request")
    if asking is not None and raw is not None:
        try:
            whole = resolve(raw, asking)
        except NotFoundError as error:
            request_status, problems["request"] = "erased", str(error)
        except LedgerGridError as error:
            problems["request"] = str(error)
        else:
            told, request_bytes = asking.said() or {}, len(whole)
            media = told.get("media_type") or told.get("request_media_type")
            coding = told.get("content_encoding") or told.get("request_encoding")
            asked = parse_request(wire, whole, media, coding)
    response_status = "absent" if end is None else end.status_of("response")
    answered = None
    raw = None if end is None else end.bytes_of("response")
    if raw is not None:
        media, coding = said.get("response_media_type"), said.get("response_encoding")
        answered = parse_response(wire, said.get("status_code") or 200, raw, media, coding)
    for name, read in (("request", asked), ("response", answered)):
        if read is not None and read.parse_error:
            problems[name] = read.parse_error
    response_bytes = 0 if raw is None else len(raw)
    return Content(
        asked, answered, said, request_status, response_status, problems, request_bytes,
        response_bytes,
    )  # fmt: skip
