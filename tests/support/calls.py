"""Calls of models for tests: starts, ends and refusals, sealed like a proxy seals them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from ledger_core import clock
from ledger_core.formats.submission import Submission
from ledger_core.ledger import Ledger
from ledger_core.sequencer import Appended
from tests.support.ledgers import START_MS, Author, appended

JSON = "application/json"


def identity(action_id: str, began_ms: int = START_MS, **said: Any) -> dict[str, Any]:
    return {
        "action_id": action_id,
        "timestamp": clock.format_time(began_ms),
        "provider": "openai",
        "wire": "openai.chat",
        "path": "/v1/chat/completions",
        **said,
    }


def start(
    author: Author, action_id: str, request: bytes = b"", media_type: str = JSON, **said: Any
) -> Submission:
    """Seal an ``llm.start/1``."""
    whole = said.pop("whole", request)
    body = identity(action_id, **said) | {
        "request_bytes": len(whole),
        "request_sha256": sha256(whole).hexdigest(),
        "media_type": JSON,
    }
    parts = {"start": msgspec.json.encode(body)} | ({"request": request} if request else {})
    return author.seal("llm.start/1", parts, media_types={"request": media_type})


def end(
    author: Author,
    action_id: str,
    answers: bytes | None = None,
    response: bytes = b"",
    media_type: str = JSON,
    request: bytes = b"",
    **said: Any,
) -> Submission:
    """Seal an ``llm.call/2``; without ``answers``, one that an agent recorded itself."""
    outcome = {"status_code": 200, "latency_ms": 250, "tokens_in": 10, "tokens_out": 5}
    body = identity(action_id, **outcome | said)
    if response:
        body |= {
            "response_bytes": len(response),
            "response_sha256": sha256(response).hexdigest(),
            "response_media_type": media_type,
        }
    if request:
        body |= {
            "request_bytes": len(request),
            "request_sha256": sha256(request).hexdigest(),
            "request_media_type": JSON,
        }
    if body.get("cost_microusd") is not None:
        body.setdefault("cost_basis", "provider")
    parts = {"call": msgspec.json.encode(body)}
    parts |= {"response": response} if response else {}
    parts |= {"request": request} if request else {}
    refs = [("answers", answers)] if answers is not None else []
    media = {"response": media_type, "request": JSON}
    return author.seal("llm.call/2", parts, refs=refs, media_types=media)  # type: ignore[arg-type]


def refusal(author: Author, action_id: str, **said: Any) -> Submission:
    """Seal an ``llm.refused/1``."""
    why: dict[str, Any] = {
        "reason": "budget_exceeded",
        "message": "the budget is spent",
        "status_code": 429,
    }
    body = identity(action_id, **why | said)
    return author.seal("llm.refused/1", {"refusal": msgspec.json.encode(body)})


def record(
    ledger: Ledger,
    author: Author,
    action_id: str,
    request: bytes = b"",
    response: bytes = b"",
    *,
    outcome: dict[str, Any] | None = None,
    **said: Any,
) -> tuple[Appended, Appended]:
    """Append a call, its start and its end."""
    begun = appended(ledger.append([start(author, action_id, request, **said)])[0])
    ended = end(author, action_id, begun.leaf_hash, response, **said, **(outcome or {}))
    return begun, appended(ledger.append([ended])[0])


def settle(ledger: Ledger) -> None:
    """Wait until the views cover all there is."""
    size = ledger.size()
    assert ledger.wait_until_searchable(size, 30) >= size
