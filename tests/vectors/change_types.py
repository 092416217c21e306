"""Bodies of the types that change earlier entries: good ones of every kind, and bad ones."""

from __future__ import annotations

from tests.vectors.governance_types import AGENT_KEY, Body, digest

WHEN = "2026-08-01T10:11:12.400Z"
PARTS: list[Body] = [{"entry": digest("one"), "parts": ["body"]}]
MUTABILITY: Body = {
    "type": "note/1",
    "amend": ["author", "role:editor"],
    "roll_back": ["author"],
    "redact": ["operator"],
    "erase": ["author", "operator"],
    "hold": ["role:auditor"],
    "keep_s": {"body": 31536000},
}
ROLLBACK: Body = {"targets": [digest("one"), digest("two")], "to": 17}
REDACT: Body = {"action": "redact", "targets": PARTS, "visible_to": ["auditor"]}
HOLD: Body = {"action": "hold", "targets": [digest("one")], "case": "case-2026-17"}
ERASURE: Body = {"targets": PARTS, "reason": "request"}
RETENTION: Body = {"type": "note/1", "part": "body", "received_before": WHEN}
DONE: Body = {"order": digest("order"), "parts": 1, "stores": ["database", "keys", "views"]}
REFUSAL: Body = {
    "record": digest("record"),
    "type": "erasure/1",
    "author": AGENT_KEY,
    "code": "no-standing",
}

EXAMPLES: dict[str, dict[str, Body]] = {
    "mutability/1": {
        "mutability": {"setting": MUTABILITY},
        "immutable for ever": {"setting": {"type": "*", "for_ever": True}},
    },
    "rollback/1": {"rollback": ROLLBACK},
    "redaction/1": {
        "redaction": REDACT,
        "redaction from everyone": {"action": "redact", "targets": PARTS},
        "unredaction": {"action": "unredact", "targets": PARTS},
    },
    "hold/1": {"hold": HOLD, "release": {**HOLD, "action": "release"}},
    "erasure/1": {"order": ERASURE},
    "retention/1": {"order of the schedule": RETENTION},
    "erasure.done/1": {
        "done": DONE,
        "done, with what it could not reach": {
            **DONE,
            "backups_until": WHEN,
            "exports": ["01990b1f-5a00-7000-8000-000000000001"],
            "exports_left_out": 3,
        },
    },
    "refusal/1": {"refusal": REFUSAL},
}

BAD: dict[str, dict[str, Body]] = {
    "mutability/1": {
        "a type that cannot be": {"setting": {**MUTABILITY, "type": "Note/1"}},
        "somebody unknown": {"setting": {**MUTABILITY, "erase": ["everybody"]}},
        "a role that cannot be": {"setting": {**MUTABILITY, "erase": ["role:Auditor"]}},
        "somebody named twice": {"setting": {**MUTABILITY, "erase": ["author", "author"]}},
        "a part kept for no time": {"setting": {**MUTABILITY, "keep_s": {"body": 0}}},
        "a part that cannot be": {"setting": {**MUTABILITY, "keep_s": {"Body": 60}}},
        "a field unknown": {"setting": {**MUTABILITY, "delete": ["author"]}},
        "no setting": {},
    },
    "rollback/1": {
        "no targets": {**ROLLBACK, "targets": []},
        "a target twice": {**ROLLBACK, "targets": [digest("one"), digest("one")]},
        "a target that is no leaf hash": {**ROLLBACK, "targets": ["17"]},
        "no index": {"targets": [digest("one")]},
        "an index below zero": {**ROLLBACK, "to": -1},
    },
    "redaction/1": {
        "no action": {"targets": PARTS},
        "an entry twice": {**REDACT, "targets": [*PARTS, *PARTS]},
        "no parts": {**REDACT, "targets": [{"entry": digest("one"), "parts": []}]},
        "a part twice": {**REDACT, "targets": [{"entry": digest("one"), "parts": ["a", "a"]}]},
        "a role twice": {**REDACT, "visible_to": ["auditor", "auditor"]},
        "roles in an unredaction": {**REDACT, "action": "unredact"},
    },
    "hold/1": {
        "an action unknown": {**HOLD, "action": "keep"},
        "no case": {k: v for k, v in HOLD.items() if k != "case"},
        "a line end in its case": {**HOLD, "case": "case\n"},
        "a target twice": {**HOLD, "targets": [digest("one"), digest("one")]},
    },
    "erasure/1": {
        "no reason": {"targets": PARTS},
        "a reason unknown": {**ERASURE, "reason": "because"},
        "no targets": {**ERASURE, "targets": []},
        "an entry twice": {**ERASURE, "targets": [*PARTS, *PARTS]},
    },
    "retention/1": {
        "a type that cannot be": {**RETENTION, "type": "*"},
        "a day for its time": {**RETENTION, "received_before": "2026-08-01"},
        "part left out": {k: v for k, v in RETENTION.items() if k != "part"},
    },
    "erasure.done/1": {
        "no order": {k: v for k, v in DONE.items() if k != "order"},
        "no stores": {**DONE, "stores": []},
        "an export that is no id": {**DONE, "exports": ["1"]},
        "a time that cannot be": {**DONE, "backups_until": "soon"},
    },
    "refusal/1": {
        "an author that is no key": {**REFUSAL, "author": "acme"},
        "a code in capitals": {**REFUSAL, "code": "NO"},
        "a record that is no digest": {**REFUSAL, "record": "1"},
    },
}
