"""A session as a page for people: to read, to print, to hand in. It loads and runs nothing."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import jinja2
import msgspec

from api.calls.contents import Json
from ledger_core.formats.checkpoint import parse_checkpoint
from ledger_core.formats.note import parse_note
from ledger_core.formats.session_export import SessionExport

_TEXT_CHARS = 20_000
"""Of one piece; all of it is in the JSON export."""
_MESSAGES = 4
"""Of one call, the newest: a conversation repeats in every call what was said before."""
_NOTHING = "–"


def format_report(export: SessionExport, filename: str) -> str:
    """Write a session's page. ``filename``: what its JSON export is called."""
    checkpoint = parse_checkpoint(parse_note(export.proofs.checkpoint.encode()).text)
    return _TEMPLATE.render(
        session=export.session,
        calls=export.calls,
        proofs=export.proofs,
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=b64encode(checkpoint.root).decode(),
        made_at=export.export["generated_at"],
        filename=filename,
        style=_STYLE,
    )


def _moment(text: str | None) -> str:
    return _NOTHING if text is None else text[:19].replace("T", " ")


def _clock(text: str | None) -> str:
    return _NOTHING if text is None else text[11:23]


def _number(value: int | None) -> str:
    return _NOTHING if value is None else f"{value:,}".replace(",", "\u202f")


def _money(microusd: int | None) -> str:
    """Write an amount without losing any of it: calls cost fractions of a cent."""
    if microusd is None:
        return _NOTHING
    whole, part = divmod(microusd, 1_000_000)
    digits = f"{part:06d}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{digits}"


def _duration(ms: int | None) -> str:
    if ms is None:
        return _NOTHING
    if ms < 1_000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, rest_ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest_ms // 1000} s"


def _outcome(call: Mapping[str, Any]) -> str:
    status = call["status"]
    if status == "refused":
        return f"refused: {str(call['reason']).replace('_', ' ')}"
    if status != "done":
        return "outcome unknown" if status == "started" else "erased"
    if call["ended"] in ("client_left", "upstream_failed", "timed_out"):
        return str(call["ended"]).replace("_", " ")
    code = call["status_code"]
    return "done" if code is None else str(code)


def _tone(call: Mapping[str, Any]) -> str:
    if call["status"] != "done":
        return "warn"
    return "bad" if call["is_error"] else "good"


def _newest(call: Mapping[str, Any]) -> tuple[list[tuple[str, str]], int]:
    """Return the last messages of a call as role and text, and how many stand before them."""
    messages = call["messages"] if isinstance(call["messages"], list) else []
    said = [x for x in messages if not (isinstance(x, dict) and x.get("role") == "system")]
    shown = [(_role(each), _said(each)) for each in said[-_MESSAGES:]]
    return shown, max(0, len(said) - _MESSAGES)


def _role(message: Any) -> str:
    role = message.get("role") if isinstance(message, dict) else None
    known = ("user", "assistant", "tool", "developer")
    return role if role in known else "message"


def _said(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else message
    if isinstance(content, list):
        return "\n".join(filter(None, map(_block, content)))
    if content is None and isinstance(message, dict):
        return _plain(message.get("tool_calls") or message)
    return _plain(content)


def _block(block: Any) -> str:
    """Return one block of a message as text; of a picture, what it is."""
    if not isinstance(block, dict):
        return _plain(block)
    for name in ("text", "content", "input_text", "output"):
        if isinstance(block.get(name), str):
            return str(block[name])
    kind = str(block.get("type"))
    if any(media in kind for media in ("image", "audio", "video", "file", "document")):
        return f"[{kind}]"
    return _plain(block)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=1)


def _text(value: str) -> str:
    if len(value) <= _TEXT_CHARS:
        return value
    return f"{value[:_TEXT_CHARS]}\n[{len(value) - _TEXT_CHARS:,} more characters]"


def _tool_name(tool: Json) -> str:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else tool.get("name")
    return str(name or "a tool")


def _arguments(tool: Json) -> str:
    function = tool.get("function")
    said = function.get("arguments") if isinstance(function, dict) else tool.get("arguments")
    if isinstance(said, str):
        try:
            return _plain(msgspec.json.decode(said))
        except msgspec.DecodeError:
            return said
    return _plain(said)


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("api.calls"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "moment": _moment,
    "clock": _clock,
    "number": _number,
    "money": _money,
    "duration": _duration,
    "outcome": _outcome,
    "tone": _tone,
    "newest": _newest,
    "plain": _plain,
    "text": _text,
    "toolname": _tool_name,
    "arguments": _arguments,
}
_TEMPLATE = _ENVIRONMENT.get_template("session.html")
_STYLE = _ENVIRONMENT.get_template("session.css").render().strip()
CONTENT_SECURITY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
)
