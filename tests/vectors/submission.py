"""Vectors of the submission (docs/spec/submission.md)."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from tests.vectors.build import SALT, Case, accept, make_signed, refuse, show

ABOUT = "Submissions: a DSSE envelope and payload parts, as JSON"
PAGE = "submission.md"

DATA = b'{"hello":"world"}'
SIGNED = make_signed()


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()


def make(**envelope: Any) -> dict[str, Any]:
    return {
        "envelope": {
            "payload": _base64(SIGNED.raw),
            "payloadType": "application/vnd.ledgergrid.record+json",
            "signatures": [{"sig": _base64(SIGNED.signature)}],
            **envelope,
        },
        "parts": {"body": {"data": _base64(DATA), "salt": _base64(SALT)}},
    }


def _parts(**fields: Any) -> dict[str, Any]:
    return {**make(), "parts": {"body": {**make()["parts"]["body"], **fields}}}


def cases() -> list[Case]:
    signature = {"sig": _base64(SIGNED.signature)}
    good = {
        "submission": make(),
        "submission with a key id": make(signatures=[{**signature, "keyid": "agent-7"}]),
        "submission without parts": {"envelope": make()["envelope"]},
    }
    spelled = {
        "submission spread over lines": json.dumps(make(), indent=2),
        "submission with a slash escaped": json.dumps(make()).replace("/", "\\/"),
    }
    bad: dict[str, Any] = {
        "nothing": {},
        "a list": [],
        "null": None,
        "no envelope": {"parts": {}},
        "an unknown field": {**make(), "receipt": ""},
        "an unknown field in the envelope": make(keyid="x"),
        "another payload type": make(payloadType="application/json"),
        "no signature": make(signatures=[]),
        "two signatures": make(signatures=[signature, signature]),
        "a signature that is null": make(signatures=[{"sig": None}]),
        "a payload without padding": make(payload=_base64(SIGNED.raw + b" ").rstrip("=")),
        "a payload in base64url": make(payload="_" * 40),
        "a payload with a newline": make(payload=_base64(SIGNED.raw) + "\n"),
        "a payload that is no record": make(payload=_base64(DATA)),
        "a payload that is not canonical": make(payload=_base64(SIGNED.raw + b"\n")),
        "a signature with spare bits set": make(signatures=[{"sig": "YR=="}]),
        "data with spare bits set": _parts(data="YR=="),
        "data with a space": _parts(data="YQ ="),
        "data that is not text": _parts(data=17),
        "a salt with spare bits set": _parts(salt="YR=="),
        "a part without salt": {**make(), "parts": {"body": {"data": ""}}},
        "a part with an unknown field": _parts(name="body"),
    }
    raw = json.dumps(make()).encode()
    torn = {
        "cut short": raw[:-1],
        "two in one line": raw + raw,
        "not UTF-8": raw.replace(b"body", b"bod\xff"),
        "in UTF-16": raw.decode().encode("utf-16-le"),
        "a lone surrogate": raw.replace(b"body", b"\\ud800"),
    }
    return [
        *(
            accept(name, "parse_submission", {"submission": show(json.dumps(each).encode())})
            for name, each in good.items()
        ),
        *(
            accept(name, "parse_submission", {"submission": show(text.encode())})
            for name, text in spelled.items()
        ),
        *(
            refuse(
                f"submission with {name}",
                "parse_submission",
                {"submission": show(json.dumps(each).encode())},
            )
            for name, each in bad.items()
        ),
        *(
            refuse(f"submission: {name}", "parse_submission", {"submission": show(each)})
            for name, each in torn.items()
        ),
        refuse(
            "submission too deep",
            "parse_submission",
            {"submission": {"utf8": '{"parts":', "repeat": 20_000}},
        ),
    ]
