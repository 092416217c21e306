"""Recorded LLM exchanges, and the ``llm.call/1`` records made of them.

One exchange a line of JSON: ``case``, ``host``, ``method``, ``path``, ``request`` and
``response`` (a parsed body, or a string of the raw text), ``status``, ``content_type``.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ledgergrid import Draft

OWN = Path(__file__).parent / "exchanges.jsonl"
RECORDED = Path(__file__).parents[3] / "shared" / "traffic" / "recorded.jsonl.gz"
"""A larger set of real traffic, where one lies beside the project."""

_PROVIDERS = {"anthropic": "anthropic", "openai": "openai", "openrouter": "openrouter"}
_JSON = "application/json"


def read_exchanges(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the exchanges of a ``.jsonl`` or ``.jsonl.gz`` file."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as lines:
        for line in lines:
            yield json.loads(line)


def body_bytes(body: Any) -> bytes:
    """Return a recorded body as it went over the wire."""
    if isinstance(body, str):
        return body.encode()
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def to_draft(exchange: Mapping[str, Any], began_at: str, session: str) -> Draft:
    """Make the record of one exchange: its facts, and both bodies byte for byte."""
    request, response = exchange["request"], exchange["response"]
    answer_type = exchange["content_type"].lower().replace("; ", ";") or _JSON
    parts = {
        "call": {
            "action_id": exchange["case"],
            "timestamp": began_at,
            "session_id": session,
            "provider": _provider(exchange["host"]),
            "method": exchange["method"],
            "path": exchange["path"],
            "status_code": exchange["status"],
            **_known(request, response),
        },
        "request": (_JSON if isinstance(request, dict) else "text/plain", body_bytes(request)),
        "response": (answer_type, body_bytes(response)),
    }
    return Draft("llm.call/1", None, {"parts": parts, "stream": session})


def _provider(host: str) -> str:
    return next((name for part, name in _PROVIDERS.items() if part in host), host)


def _known(request: Any, response: Any) -> dict[str, Any]:
    """Return what the bodies say plainly. What they do not say is left out: unknown, not zero."""
    asked = request if isinstance(request, dict) else {}
    said = response if isinstance(response, dict) else {}
    usage = said.get("usage") or {}
    choices = said.get("choices") or [{}]
    found = {
        "model_id": said.get("model") or asked.get("model"),
        "response_id": said.get("id"),
        "tokens_in": usage.get("prompt_tokens", usage.get("input_tokens")),
        "tokens_out": usage.get("completion_tokens", usage.get("output_tokens")),
        "stop_reason": said.get("stop_reason") or choices[0].get("finish_reason"),
        "error_detail": said.get("error"),
        "max_tokens": asked.get("max_tokens"),
    }
    return {name: value for name, value in found.items() if value is not None}
