"""What was said in a call, as the GenAI conventions want it on a span; only for those who ask.

Bounded, since a trace is no archive: long texts are cut, of long conversations the newest
messages stay (``ledgergrid.dropped_messages`` counts the others), and what lies inline in base64
is named, not copied. The whole of it is in the log.

A redactor, if there is one, sees each text before it is cut, and some way beyond the cut: half a
card number is none to it.

Source: https://github.com/open-telemetry/semantic-conventions-genai (model/gen-ai/*.json)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from api.feed import Ended
from api.telemetry.attributes import Value
from ledger_core.llm.model import Answered, Asked, Choice

TEXT_CHARS = 4_000
ATTRIBUTE_CHARS = 48_000
_TOOLS = 64
_DEPTH = 6
_BEYOND_CHARS = 500
_LEAST_CARD = 10**12
_ITEMS = 64

Part = dict[str, Any]
Message = dict[str, Any]
Redact = Callable[[str], str]


def read_content(ended: Ended, redact: Redact | None = None) -> dict[str, Value]:
    """Return the attributes that hold what was said."""
    found: dict[str, Value] = {}
    if ended.asked is not None:
        found |= _of_request(ended.asked, redact)
    if ended.answered is not None:
        found |= _of_answer(ended.answered, redact)
    return found


def weigh(attributes: Mapping[str, Any] | None) -> int:
    """Return about how much a span's texts weigh, in bytes."""
    return sum(len(value) for value in (attributes or {}).values() if isinstance(value, str))


def _of_request(asked: Asked, redact: Redact | None) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if asked.system_prompt:
        found["gen_ai.system_instructions"] = _to_json(
            _finish([_text(asked.system_prompt)], redact)
        )
    if asked.messages:
        messages = [each for each in map(_message, asked.messages[-_ITEMS:]) if each["parts"]]
        kept = _newest(_finish(messages, redact))
        found["gen_ai.input.messages"] = _to_json(kept)
        dropped = len(messages) - len(kept) + max(0, len(asked.messages) - _ITEMS)
        if dropped:
            found["ledgergrid.dropped_messages"] = dropped
    if asked.tools:
        tools = [_tool(each) for each in asked.tools[:_TOOLS] if isinstance(each, dict)]
        found["gen_ai.tool.definitions"] = _to_json(_newest(_finish(tools, redact)))
    return found


def _of_answer(answered: Answered, redact: Redact | None) -> dict[str, Value]:
    choices = answered.choices[:_ITEMS]
    messages = [{"role": "assistant", "parts": _choice(each)} for each in choices]
    kept = _newest(_finish(messages, redact))
    return {"gen_ai.output.messages": _to_json(kept)} if kept else {}


# --- a request's messages ----------------------------------------------------------


def _message(raw: Any) -> Message:
    """Convert one message of any wire format; what is unknown keeps its type and little else."""
    if not isinstance(raw, dict):
        return {"role": "user", "parts": [_text(raw)]}
    kind = raw.get("type")
    if kind == "function_call":
        return {"role": "assistant", "parts": [_tool_call(raw.get("call_id"), raw)]}
    if kind == "function_call_output":
        return {"role": "tool", "parts": [_tool_response(raw.get("call_id"), raw.get("output"))]}
    role = _name(raw.get("role"), "assistant")
    if role == "tool":
        parts = [_tool_response(raw.get("tool_call_id"), raw.get("content"))]
    else:
        parts = list(_parts(raw.get("content")))
    for call in _dicts(raw.get("tool_calls")):
        named = (call.get("function"), call.get("custom"), call)
        of = next(each for each in named if isinstance(each, dict))
        parts.append(_tool_call(call.get("id"), of))
    if not parts and isinstance(kind, str):
        parts = [_other(raw)]
    return {"role": role, "parts": parts}


def _parts(content: Any) -> Iterable[Part]:
    if isinstance(content, str):
        yield _text(content)
    elif isinstance(content, list):
        for block in content[:_ITEMS]:
            yield _part(block) if isinstance(block, dict) else _text(block)


def _part(block: Mapping[str, Any]) -> Part:
    kind = block.get("type")
    if isinstance(block.get("text"), str):
        return _text(block["text"])
    if kind == "thinking":
        return {"type": "reasoning", "content": _clip(block.get("thinking"))}
    if kind == "tool_use":
        return _tool_call(block.get("id"), block)
    if kind == "tool_result":
        return _tool_response(block.get("tool_use_id"), block.get("content"))
    return _media(block) or _other(block)


def _media(block: Mapping[str, Any]) -> Part | None:
    """Name what is no text: by its address, or by its kind where its bytes lie inline."""
    modality = next((x for x in _MODALITIES if x in str(block.get("type"))), None)
    if modality is None:
        return None
    modality = _MODALITIES[modality]
    source = block.get("source") or block.get("image_url") or block.get("file_url")
    url = source.get("url") if isinstance(source, dict) else source
    if isinstance(url, str) and not url.startswith("data:"):
        return {"type": "uri", "modality": modality, "uri": _clip(url)}
    return {"type": "inline_data", "modality": modality}


_MODALITIES = {
    "image": "image",
    "audio": "audio",
    "video": "video",
    "document": "document",
    "file": "document",
}


def _tool_call(call_id: Any, raw: Mapping[str, Any]) -> Part:
    arguments = raw.get("arguments", raw.get("input"))
    return {
        "type": "tool_call",
        "id": _name(call_id, None),
        "name": _name(raw.get("name"), "unknown"),
        "arguments": _plain(arguments),
    }


def _tool_response(call_id: Any, content: Any) -> Part:
    return {
        "type": "tool_call_response",
        "id": _name(call_id, None),
        "response": _plain(content),
    }


def _other(raw: Mapping[str, Any]) -> Part:
    return {"type": _name(raw.get("type"), "unknown")}


def _tool(raw: Mapping[str, Any]) -> Part:
    """Name a tool; descriptions and parameters are large, and the conventions leave them out."""
    function = raw.get("function")
    of = function if isinstance(function, dict) else raw
    kind = _name(raw.get("type"), "function")
    return {"type": kind, "name": _name(of.get("name"), kind)}


# --- an answer's choices -----------------------------------------------------------


def _choice(choice: Choice) -> list[Part]:
    parts: list[Part] = []
    if choice.reasoning:
        parts.append({"type": "reasoning", "content": _clip(choice.reasoning)})
    for said in (choice.content, choice.refusal):
        if said:
            parts.append(_text(said))
    for call in choice.tool_calls[:_ITEMS]:
        parts.append(_tool_call(call.id, {"name": call.name, "arguments": call.arguments}))
    return parts


# --- bounds ------------------------------------------------------------------------


def _text(text: Any) -> Part:
    return {"type": "text", "content": _clip(text)}


def _clip(text: Any) -> str:
    """Return as much of a text as is looked at; :func:`_finish` cuts it."""
    return text[: TEXT_CHARS + _BEYOND_CHARS] if isinstance(text, str) else ""


def _finish(value: Any, redact: Redact | None) -> Any:
    """Redact every text and cut it, names and numbers too: a card may be a number."""
    if isinstance(value, dict):
        return {_finish(name, redact): _finish(each, redact) for name, each in value.items()}
    if isinstance(value, list):
        return [_finish(each, redact) for each in value]
    if redact is not None and type(value) is int and abs(value) >= _LEAST_CARD:
        told = redact(str(value))
        return value if told == str(value) else told
    if not isinstance(value, str):
        return value
    text = value if redact is None else redact(value)
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "…"


def _name(value: Any, default: Any) -> Any:
    return value[:500] if isinstance(value, str) else default


def _dicts(value: Any) -> list[dict[str, Any]]:
    found = value[:_ITEMS] if isinstance(value, list) else []
    return [each for each in found if isinstance(each, dict)]


def _plain(value: Any, depth: int = 0) -> Any:
    """Copy a JSON value, no deeper and no longer than is shown."""
    if isinstance(value, str):
        return _clip(value)
    if depth >= _DEPTH and isinstance(value, dict | list):
        return "…"
    if isinstance(value, dict):
        of = list(value.items())[:_ITEMS]
        return {str(name)[:500]: _plain(each, depth + 1) for name, each in of}
    if isinstance(value, list):
        return [_plain(each, depth + 1) for each in value[:_ITEMS]]
    return value


def _newest(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return as many of the last as an attribute holds, in order."""
    kept: list[Mapping[str, Any]] = []
    left = ATTRIBUTE_CHARS
    for item in reversed(items):
        left -= len(_to_json(item)) + 1
        if left < 0:
            break
        kept.append(item)
    return kept[::-1]


_ENCODER: Callable[[Any], bytes] = msgspec.json.Encoder().encode


def _to_json(value: Any) -> str:
    return _ENCODER(value).decode()
