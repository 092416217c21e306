"""Vectors of record types and of standing (docs/spec/record-types.md)."""

from __future__ import annotations

from typing import Any

from tests.vectors import capture_types, change_types, governance_types, segment
from tests.vectors.bad_governance_types import BAD
from tests.vectors.build import EPOCH_ORIGIN, LOG, ORIGIN, Case, accept, refuse
from tests.vectors.epoch_types import BAD_EPOCHS, EPOCHS, STATEMENT, encode
from tests.vectors.governance_types import (
    AGENT_KEY,
    LOG_KEY,
    NEXT_VKEY,
    OPERATOR_KEY,
    OTHER_KEY,
)
from tests.vectors.notes import LOG_VKEY

ABOUT = "Record types: payloads they take and refuse; who may write what, when"
PAGE = "record-types.md"

ACTION = {"action": "send_email", "status": "succeeded", "tool": "smtp", "input": {"to": "…"}}
DECISION = {
    "decision": "route",
    "chosen": "north",
    "options": ["north", "south"],
    "reason": "shorter",
    "confidence": 0.75,
}
CALL = {
    "action_id": "call-1",
    "timestamp": "2026-08-01T10:11:12.345Z",
    "provider": "openai",
    "model_id": "gpt-4o-mini",
    "tokens_in": 11,
    "tokens_out": 7,
    "cost_microusd": 6,
    "status_code": 200,
}
EXPORT = {"start": 0, "end": 11, "recipient": "auditor"}
EXCHANGE = {
    "call": CALL,
    "request": {"hex": "ff00", "media_type": "application/octet-stream"},
    "response": {"hex": "", "media_type": "text/event-stream"},
}

EXAMPLES: dict[str, dict[str, dict[str, Any]]] = {
    **{
        kind: {name: {"body": body} for name, body in bodies.items()}
        for kind, bodies in {**governance_types.EXAMPLES, **change_types.EXAMPLES}.items()
    },
    "epoch/1": {name: {"body": body} for name, body in EPOCHS.items()},
    "note/1": {
        "object": {"body": {"hello": "world"}},
        "number": {"body": 1.5},
        "null": {"body": None},
        "text": {"body": "naïve ☃"},
    },
    "agent.action/1": {
        "action": {"body": ACTION},
        "smallest action": {"body": {"action": "a", "status": "started"}},
    },
    "agent.decision/1": {
        "decision": {"body": DECISION},
        "smallest decision": {"body": {"decision": "d", "chosen": ""}},
    },
    "llm.call/1": {
        "call": {"call": CALL},
        "call with its exchange": EXCHANGE,
    },
    **capture_types.EXAMPLES,
    "segment/1": {"segment": segment.PARTS},
    "export/1": {"export": {"body": EXPORT}, "export of all": {"body": {**EXPORT, "end": 0}}},
}
"""Good payloads of every type, by part."""

BY_OPERATORS = (
    "charter/1 key/1 log.key/1 member/1 policy/1 audience/1 outcome/1 "
    "equivocation/1 epoch/1 anchor/1 export/1 mutability/1 retention/1 erasure.done/1 refusal/1 "
    "capture.limits/1 capture.stop/1 alert/1"
)
AUTHORS = dict.fromkeys(BY_OPERATORS.split(), OPERATOR_KEY)


def _given(kind: str, parts: dict[str, Any], **more: Any) -> Case:
    author = AUTHORS.get(kind, AGENT_KEY)
    ledger = EPOCH_ORIGIN if kind == "epoch/1" else ORIGIN
    return {"type": kind, "ledger": ledger, "author": author, "parts": parts, **more}


def _bad_others() -> dict[str, dict[str, Any]]:
    return {
        "agent.action/1": {
            "a field unknown": {**ACTION, "colour": "red"},
            "no status": {"action": "a"},
            "a status unknown": {**ACTION, "status": "done"},
            "an empty action": {**ACTION, "action": ""},
            "an action too long": {**ACTION, "action": "a" * 201},
            "a zero byte in its tool": {**ACTION, "tool": "a\x00b"},
            "a number for its action": {**ACTION, "action": 1},
        },
        "agent.decision/1": {
            "nothing chosen": {"decision": "d"},
            "too much confidence": {**DECISION, "confidence": 1.01},
            "a text for its options": {**DECISION, "options": "north"},
            "a zero byte in its session": {**DECISION, "session_id": "\x00"},
        },
        "export/1": {
            "an empty range": {**EXPORT, "start": 11},
            "a range backwards": {**EXPORT, "start": 12},
            "a start below zero": {**EXPORT, "start": -1},
            "no recipient": {"start": 0, "end": 1},
            "a zero byte in its recipient": {**EXPORT, "recipient": "\x00"},
        },
    }


def _bad_calls() -> dict[str, Any]:
    return {
        "no provider": {k: v for k, v in CALL.items() if k != "provider"},
        "a fractional cost": {**CALL, "cost_microusd": 0.5},
        "a cost below zero": {**CALL, "cost_microusd": -1},
        "a cost beyond 2**53 - 1": {**CALL, "cost_microusd": 2**53},
        "a cost in quotes": {**CALL, "cost_microusd": "6"},
        "a field unknown": {**CALL, "cost": 6},
        "a cost basis unknown": {**CALL, "cost_basis": "guess"},
        "a zero byte in its model": {**CALL, "model_id": "gpt\x00"},
        "a number among its tags": {**CALL, "tags": {"a": 1}},
    }


def _payloads() -> list[Case]:
    cases = [
        accept(f"{kind}: {name}", "decode_payload", _given(kind, parts))
        for kind, examples in EXAMPLES.items()
        for name, parts in examples.items()
    ]
    bad = {**BAD, **change_types.BAD, "epoch/1": BAD_EPOCHS, **_bad_others()}
    cases += [
        refuse(
            f"{kind} with {name}",
            "decode_payload",
            _given(kind, {"body": body}),
            "bad-payload",
        )
        for kind, bodies in bad.items()
        for name, body in bodies.items()
    ]
    cases += [
        refuse(
            f"llm.call/1 with {name}",
            "decode_payload",
            _given("llm.call/1", {"call": call}),
            "bad-payload",
        )
        for name, call in _bad_calls().items()
    ]
    cases += [
        refuse(f"{kind} with {name}", "decode_payload", _given(kind, parts), "bad-payload")
        for kind, bodies in capture_types.BAD.items()
        for name, parts in bodies.items()
    ]
    cases += capture_types.cases(_given)
    cases += [
        refuse(f"segment/1 with {name}", "decode_payload", _given("segment/1", bad), "bad-payload")
        for name, bad in segment.bad_parts().items()
    ]
    return [*cases, *_bad_parts(), *_unknown_types()]


def _bad_parts() -> list[Case]:
    """Wrong part, wrong media type, wrong bytes: the same for every type."""
    cases = []
    for kind, examples in EXAMPLES.items():
        parts = next(iter(examples.values()))
        (name, value), *_ = parts.items()
        bad = {
            "no part": {},
            "a part nobody knows": {**parts, "attachment": 1},
            "a part under another name": {"text": value},
            "a part of another media type": {name: {"json": value, "media_type": "text/plain"}},
            "a part with a parameter": {
                name: {"json": value, "media_type": "application/json;charset=utf-8"}
            },
            "a part that is no JSON": {name: {"hex": "7b"}},
            "a part that is empty": {name: {"hex": ""}},
            "a part that is not UTF-8": {name: {"hex": "22ff22"}},
            "a part that holds a list too deep": {name: {"hex": "5b", "repeat": 5_000}},
        }
        cases += [
            refuse(f"{kind} with {what}", "decode_payload", _given(kind, each), "bad-payload")
            for what, each in bad.items()
        ]
        for what, broken in {
            "a part the record does not commit to": {"uncommitted": name},
            "a part missing that the record commits to": {"withheld": name},
            "a part changed": {"changed": name},
            "a part with another salt": {"resalted": name},
        }.items():
            given = _given(kind, parts, **broken)
            cases.append(refuse(f"{kind} with {what}", "decode_payload", given, "bad-commitment"))
    fields = ("action", "revoke"), ("key", AGENT_KEY), ("key", OTHER_KEY), ("reason", "lost")
    twice = "{" + ",".join(f'"{field}":"{text}"' for field, text in fields) + "}"
    given = _given("key/1", {"body": {"hex": twice.encode().hex()}})
    return [*cases, refuse("key/1 with a field twice", "decode_payload", given, "bad-payload")]


def _unknown_types() -> list[Case]:
    return [
        refuse(f"type {name}", "find_type", {"type": name}, "unknown-type")
        for name in ("note/2", "note/0", "note", "Note/1", "note/1 ", "", "agent.mood/1")
    ]


def _standings() -> list[Case]:
    agent = {"roles": ["agent"], "since": 5}
    revoked = {**agent, "revoked": 9}
    operator = {"roles": ["operator"], "since": 0}
    good: dict[str, tuple[Any, str, int]] = {
        "agent writes a note": (agent, "note/1", 6),
        "agent writes an action": (agent, "agent.action/1", 6),
        "operator writes a note": (operator, "note/1", 1),
        "operator registers a key": (operator, "key/1", 1),
        "operator exports": (operator, "export/1", 1),
        "key writes before it is revoked": (revoked, "note/1", 8),
        "key writes the entry that revokes it": (revoked, "note/1", 9),
        "charter is entry 0": (None, "charter/1", 0),
    }
    bad: dict[str, tuple[Any, str, int]] = {
        "key nobody registered": (None, "note/1", 6),
        "key before its registration": (agent, "note/1", 4),
        "key in the entry that registers it": (agent, "note/1", 5),
        "key just after it was revoked": (revoked, "note/1", 10),
        "key long after it was revoked": (revoked, "note/1", 10**6),
        "agent registers a key": (agent, "key/1", 6),
        "agent exports": (agent, "export/1", 6),
        "second charter": (operator, "charter/1", 1),
        "note as entry 0": (operator, "note/1", 0),
    }

    def given(key: Any, kind: str, index: int) -> Case:
        return {"key": key, "type": kind, "index": index}

    return [accept(n, "check_standing", given(*x)) for n, x in good.items()] + [
        refuse(n, "check_standing", given(*x), "no-standing") for n, x in bad.items()
    ]


def cases() -> list[Case]:
    possession = f"ledgergrid/key-possession@v1\n{ORIGIN}\n{OTHER_KEY}\n"
    handover = f"ledgergrid/log-key-handover@v1\n{ORIGIN}\n{LOG_VKEY}\n{NEXT_VKEY}\n"
    return [
        accept(
            "what shows possession of a key",
            "possession_message",
            {"origin": ORIGIN, "key": OTHER_KEY},
            possession,
        ),
        accept(
            "what both log keys sign",
            "handover_message",
            {"origin": ORIGIN, "old": LOG_KEY["old"], "new": LOG_KEY["new"]},
            handover,
        ),
        accept(
            "what those sign who agree to an epoch",
            "epoch_message",
            {"statement": STATEMENT},
            encode(STATEMENT).decode(),
        ),
        accept("log's own key", "parse_vkey", {"vkey": LOG_VKEY}, LOG.public.algorithm),
        *_payloads(),
        *_standings(),
    ]
