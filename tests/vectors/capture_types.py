"""Payloads of the records of calls: good ones, and bad ones with why."""

from __future__ import annotations

from typing import Any

from tests.vectors.build import MADE_AT, Case, accept, refuse
from tests.vectors.governance_types import digest

Body = dict[str, Any]

SHA256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
CALLED: Body = {
    "action_id": "01990b1f-5a00-7000-8000-000000000011",
    "timestamp": MADE_AT,
    "provider": "openai",
    "wire": "openai.chat",
    "path": "/v1/chat/completions",
    "model_id": "gpt-4o-mini",
    "session_id": "support-4711",
    "user_id": "u-42",
    "agent_name": "planner",
}
START: Body = {
    **CALLED,
    "request_bytes": 412,
    "request_sha256": SHA256,
    "media_type": "application/json",
    "reserved_microusd": 640,
}
END: Body = {
    **CALLED,
    "status_code": 200,
    "latency_ms": 1204,
    "tokens_in": 11,
    "tokens_out": 7,
    "cost_microusd": 6,
    "cost_basis": "provider",
    "price_source": "genai-prices@0.2.3",
    "stop_reason": "stop",
    "choices": 1,
    "response_bytes": 833,
    "response_sha256": SHA256,
    "response_media_type": "application/json",
}
REFUSED: Body = {
    **CALLED,
    "reason": "budget_exceeded",
    "message": "the budget of session support-4711 is used up",
    "status_code": 429,
    "limit": 1_000_000,
    "used": 1_000_412,
    "scope": "session",
}
ALERT: Body = {
    "type": "high_cost",
    "message": "a call cost more than 0.50 USD",
    "timestamp": MADE_AT,
    "value": 612_000,
    "threshold": 500_000,
    "action_id": CALLED["action_id"],
}
LIMITS: Body = {
    "budget_session_microusd": 5_000_000,
    "budget_daily_microusd": None,
    "budget_action": "both",
    "rpm_agent": 60,
    "allow_models": ["gpt-4o*", "claude-*"],
    "deny_providers": [],
    "refuse_unpriced": True,
}
STOP: Body = {"action": "stop", "reason": "an agent runs in circles"}

BYTES: Body = {"hex": "7b7d", "media_type": "application/json"}

EXAMPLES: dict[str, dict[str, dict[str, Any]]] = {
    "llm.start/1": {
        "start": {"start": START},
        "start with its request": {"start": START, "request": BYTES},
        "start without content": {"start": {**START, "level": "metadata"}},
    },
    "llm.call/2": {
        "end": {"call": END},
        "end with its response": {"call": END, "response": BYTES},
        "call that was recorded directly": {
            "call": {**END, "request_bytes": 2, "request_sha256": SHA256},
            "request": BYTES,
            "response": BYTES,
        },
        "call whose cost nobody knows": {"call": {**CALLED, "ended": "upstream_failed"}},
    },
    "llm.refused/1": {"refusal": {"refusal": REFUSED}},
    "alert/1": {"alert": {"alert": ALERT}},
    "capture.limits/1": {"limits": {"body": LIMITS}, "no limits of its own": {"body": {}}},
    "capture.stop/1": {"stop": {"body": STOP}, "resume": {"body": {"action": "resume"}}},
}

BAD: dict[str, dict[str, dict[str, Any]]] = {
    kind: {name: {part: body} for name, body in bodies.items()}
    for kind, part, bodies in (
        (
            "llm.start/1",
            "start",
            {
                "no digest of its request": {**START, "request_sha256": None},
                "a digest that is none": {**START, "request_sha256": SHA256.upper()},
                "a time in another form": {**START, "timestamp": "2026-08-01T10:11:12Z"},
                "a wire format unknown": {**START, "wire": "openai"},
                "a level unknown": {**START, "level": "some"},
                "a reservation in dollars": {**START, "reserved_microusd": 0.64},
                "a zero byte in its session": {**START, "session_id": "a\x00"},
                "a path too long": {**START, "path": "/" * 8_001},
                "too many tags": {**START, "tags": {f"tag-{n}": "" for n in range(65)}},
                "an answer": {**START, "tokens_out": 7},
            },
        ),
        (
            "llm.call/2",
            "call",
            {
                "a time in another form": {**END, "timestamp": "now"},
                "a cost without a basis": {**END, "cost_basis": "unknown"},
                "a basis without a cost": {**END, "cost_microusd": None},
                "a cost below zero": {**END, "cost_microusd": -1},
                "an end unknown": {**END, "ended": "done"},
                "messages": {**END, "messages": []},
                "an error too long": {**END, "error_detail": "a" * 10_001},
                "a zero byte in a tool's name": {**END, "tool_names": ["a\x00"]},
            },
        ),
        (
            "llm.refused/1",
            "refusal",
            {
                "a reason unknown": {**REFUSED, "reason": "why not"},
                "no status": {k: v for k, v in REFUSED.items() if k != "status_code"},
                "what was asked": {**REFUSED, "request_bytes": 4},
                "a time in another form": {**REFUSED, "timestamp": ""},
            },
        ),
        (
            "alert/1",
            "alert",
            {
                "a type unknown": {**ALERT, "type": "low_cost"},
                "no threshold": {k: v for k, v in ALERT.items() if k != "threshold"},
                "a time in another form": {**ALERT, "timestamp": "1785579072345"},
            },
        ),
        (
            "capture.limits/1",
            "body",
            {
                "a budget in dollars": {"budget_daily_microusd": 0.5},
                "a budget below zero": {"budget_daily_microusd": -1},
                "an action unknown": {"budget_action": "hope"},
                "one model that is no list": {"allow_models": "gpt-4o"},
                "a limit unknown": {"rpm_app": 3},
            },
        ),
        (
            "capture.stop/1",
            "body",
            {"an action unknown": {"action": "pause"}, "no action": {"reason": "why"}},
        ),
    )
}


def cases(given: Any) -> list[Case]:
    """Return what a type's own rule says of refs and parts; ``given`` makes a case's input."""
    answers = [{"rel": "answers", "to": digest("start")}]
    two = [*answers, {"rel": "answers", "to": digest("another start")}]
    caused = [*answers, {"rel": "causes", "to": digest("an earlier call")}]
    metadata = {**END, "level": "metadata"}
    good = {
        "an end that answers its start": ("llm.call/2", {"call": END}, answers),
        "an end that says what it came of": ("llm.call/2", {"call": END}, caused),
    }
    bad = {
        "a start that answers": ("llm.start/1", {"start": START}, answers),
        "a start without content, and its request": (
            "llm.start/1",
            {"start": {**START, "level": "metadata"}, "request": BYTES},
            [],
        ),
        "an end of two starts": ("llm.call/2", {"call": END}, two),
        "an end with the request": ("llm.call/2", {"call": END, "request": BYTES}, answers),
        "an end with the request's size": (
            "llm.call/2",
            {"call": {**END, "request_bytes": 2}},
            answers,
        ),
        "an end without content, and its response": (
            "llm.call/2",
            {"call": metadata, "response": BYTES},
            answers,
        ),
    }
    return [
        accept(name, "decode_payload", given(kind, parts, refs=refs))
        for name, (kind, parts, refs) in good.items()
    ] + [
        refuse(name, "decode_payload", given(kind, parts, refs=refs), "bad-payload")
        for name, (kind, parts, refs) in bad.items()
    ]
