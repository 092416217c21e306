"""Vectors of the session export (docs/spec/session-export.md): one call, and what may be wrong."""

from __future__ import annotations

import copy
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from ledger_core import ids
from ledger_core.formats.record import Ref
from ledger_core.formats.vkey import format_vkey
from ledger_core.merkle import tree
from tests.vectors.anchor import place, spell, write_receipt
from tests.vectors.build import (
    LOG,
    MADE_AT,
    ORIGIN,
    SALT,
    Case,
    accept,
    make_signed,
    part_ref,
    refuse,
    show,
)

ABOUT = "Exports of a session: its calls, and the entries that prove them"
PAGE = "session-export.md"

REQUEST = spell({"messages": [{"content": "Hello?", "role": "user"}], "model": "gpt-5"})
_MESSAGE = {"content": "Hello.", "role": "assistant"}
RESPONSE = spell(
    {
        "choices": [{"finish_reason": "stop", "index": 0, "message": _MESSAGE}],
        "id": "r1",
        "model": "gpt-5",
        "usage": {"completion_tokens": 2, "prompt_tokens": 3, "total_tokens": 5},
    }
)
_IDENTITY = {
    "action_id": "call-1",
    "model_id": "gpt-5",
    "provider": "openai",
    "session_id": "s",
    "timestamp": MADE_AT,
    "wire": "openai.chat",
}
START = _IDENTITY | {
    "media_type": "application/json",
    "request_bytes": len(REQUEST),
    "request_sha256": sha256(REQUEST).hexdigest(),
}
END = _IDENTITY | {
    "cost_basis": "provider",
    "cost_microusd": 1_500,
    "latency_ms": 250,
    "response_bytes": len(RESPONSE),
    "response_media_type": "application/json",
    "response_sha256": sha256(RESPONSE).hexdigest(),
    "status_code": 200,
    "stop_reason": "stop",
    "tokens_in": 3,
    "tokens_out": 2,
}
TOLD = END | {
    "content": "Hello.",
    "cost_usd": 0.0015,
    "end_index": 2,
    "index": 1,
    "messages": [{"content": "Hello?", "role": "user"}],
    "reasoning": None,
    "system_prompt": None,
}
POLICY = f"log {format_vkey(LOG.public)}\nquorum none\n"


def _refs(start: bytes | None) -> dict[str, Any]:
    return {"refs": (Ref("answers", ids.format_digest(tree.leaf_hash(start))),)} if start else {}


def make(end: dict[str, Any] | None = None, *, answers: bool = True) -> dict[str, Any]:
    """Make an export of one call; ``end``: what its end says otherwise."""
    begun, done = spell(START), spell(END | (end or {}))
    first = make_signed(
        21, kind="llm.start/1", payload={"request": part_ref(REQUEST), "start": part_ref(begun)}
    )
    leaves = [b"a charter", place(ORIGIN, 1, first)]
    last = make_signed(
        22,
        kind="llm.call/2",
        payload={"call": part_ref(done), "response": part_ref(RESPONSE)},
        **_refs(leaves[1] if answers else None),
    )
    leaves.append(place(ORIGIN, 2, last))
    parts = [{"request": REQUEST, "start": begun}, {"call": done, "response": RESPONSE}]
    return {
        "calls": [TOLD | (end or {})],
        "export": {"generated_at": "2026-08-02T00:00:00.000Z", "generator": "LedgerGrid"},
        "format": "ledgergrid/session-export@v1",
        "proofs": {
            "checkpoint": write_receipt(leaves, 1, LOG).partition("\n\n")[2],
            "entries": [_shown(leaves, n, of) for n, of in enumerate(parts, 1)],
            "ledger": "calls",
            "log_key": format_vkey(LOG.public),
        },
        "session": {"call_count": 1, "session_id": "s"},
    }


def _shown(leaves: list[bytes], index: int, parts: dict[str, bytes]) -> dict[str, Any]:
    return {
        "index": index,
        "leaf": b64encode(leaves[index]).decode(),
        "parts": {
            name: {
                "data": b64encode(data).decode(),
                "salt": b64encode(SALT).decode(),
                "status": "present",
            }
            for name, data in parts.items()
        },
        "receipt": write_receipt(leaves, index, LOG),
    }


Change = Callable[[dict[str, Any], list[dict[str, Any]]], Any]


def check(name: str, made: dict[str, Any], failed: str | None, unread: int = 0) -> Case:
    given = {"export": show(spell(made)), "policy": show(POLICY.encode())}
    return accept(name, "verify_session", given, {"failed": failed, "unread": unread})


def _forge(change: Change) -> dict[str, Any]:
    forged = copy.deepcopy(make())
    change(forged["calls"][0], forged["proofs"]["entries"])
    return forged


def _erase(entry: dict[str, Any], part: str) -> None:
    entry["parts"][part] = {"status": "erased"}


def cases() -> list[Case]:
    other = b64encode(b"{}").decode()
    forged: dict[str, tuple[Change, str]] = {
        "whose cost is told as another": (lambda call, _: call.update(cost_usd=0), "telling"),
        "whose answer is told as another": (lambda call, _: call.update(content="No."), "reading"),
        "whose question is told as another": (lambda c, _: c.update(messages=[]), "reading"),
        "whose end is not there": (lambda _, entries: entries.pop(), "entries"),
        "beside an entry of none": (lambda call, _: call.update(end_index=None), "telling"),
        "with an entry twice": (lambda _, entries: entries.append(entries[0]), "entries"),
        "under another index": (lambda _, entries: entries[0].update(index=2), "inclusion"),
        "with another's receipt": (
            lambda _, entries: entries[0].update(receipt=entries[1]["receipt"]),
            "inclusion",
        ),
        "with other bytes": (
            lambda _, entries: entries[0]["parts"]["request"].update(data=other),
            "commitment",
        ),
        "with a part too few": (lambda _, entries: entries[1]["parts"].pop("call"), "commitment"),
    }
    stranger = check("under a policy that trusts another log", make(), "checkpoint")
    stranger["given"]["policy"] = show(POLICY.replace("log1", "log2").encode())
    bad = {
        "nothing": b"",
        "of another version": spell(make()).replace(b"export@v1", b"export@v2"),
        "without proofs": spell({k: v for k, v in make().items() if k != "proofs"}),
    }
    return [
        check("a session of one call", make(), None),
        check("its request erased", _forge(lambda _, entries: _erase(entries[0], "request")), None),
        check(
            "what it says erased", _forge(lambda _, entries: _erase(entries[1], "call")), None, 1
        ),
        *(
            check(f"a call {name}", _forge(change), claim)
            for name, (change, claim) in forged.items()
        ),
        check("tokens that the response does not bear out", make({"tokens_in": 4}), "reading"),
        check("a digest of other bytes", make({"response_sha256": "0" * 64}), "bytes"),
        check("an end that answers nothing", make(answers=False), "answers"),
        *(
            refuse(f"an export {n}", "parse_session", {"export": show(raw)})
            for n, raw in bad.items()
        ),
    ]
