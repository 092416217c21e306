"""Good payloads of governance types, and the keys in them (docs/spec/record-types.md)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Any

from ledger_core import ids
from ledger_core.formats import ed25519
from tests.vectors.build import AGENT, LOG, OPERATOR, ORIGIN
from tests.vectors.edwards25519 import IDENTITY, encode
from tests.vectors.notes import LOG_VKEY

Body = dict[str, Any]

OTHER = ed25519.PrivateKey(b"\x09" * 32)
STEWARD = ed25519.PrivateKey(b"\x0a" * 32)
NEXT_LOG = ed25519.PrivateKey(b"\x0b" * 32)
AGENT_KEY, OPERATOR_KEY = ids.format_key(AGENT.public_key), ids.format_key(OPERATOR.public_key)
OTHER_KEY, STEWARD_KEY = ids.format_key(OTHER.public_key), ids.format_key(STEWARD.public_key)
SMALL_KEY = ids.format_key(encode(IDENTITY))


def possess(key: ed25519.PrivateKey = OTHER, origin: str = ORIGIN, claimed: str = "") -> str:
    """Sign what shows that a key's holder wants it registered (docs/spec/record-types.md)."""
    text = f"ledgergrid/key-possession@v1\n{origin}\n{claimed or ids.format_key(key.public_key)}\n"
    return ids.encode_base64url(key.sign(text.encode()))


def make_vkey(key: ed25519.PrivateKey, name: str = ORIGIN) -> str:
    """Spell a log's vkey."""
    raw = b"\x01" + key.public_key
    key_id = sha256(name.encode() + b"\n" + raw).hexdigest()[:8]
    return f"{name}+{key_id}+{b64encode(raw).decode()}"


NEXT_VKEY = make_vkey(NEXT_LOG)


def hand_over(
    key: ed25519.PrivateKey, old: str = LOG_VKEY, new: str = NEXT_VKEY, origin: str = ORIGIN
) -> str:
    """Sign a log's handover from one key to the next (docs/spec/governance.md)."""
    text = f"ledgergrid/log-key-handover@v1\n{origin}\n{old}\n{new}\n"
    return ids.encode_base64url(key.sign(text.encode()))


def digest(text: str) -> str:
    """Name an entry that is nowhere: any digest will do."""
    return "sha256:" + ids.encode_base64url(sha256(text.encode()).digest())


# --- examples ----------------------------------------------------------------------

MEMBER_RULES: list[Body] = [
    {"rule": "member", "member": name} for name in ("acme", "birch", "cobalt")
]
TWO_OF_THREE: Body = {"rule": "out_of", "at_least": 2, "of": MEMBER_RULES}
POLICY: Body = {
    "name": "two-of-three",
    "governs": ["note/1"],
    "rule": TWO_OF_THREE,
    "count_by": "member",
    "author_counts": True,
    "ttl_s": 86400,
}
NESTED_POLICY: Body = {
    **POLICY,
    "name": "payments",
    "governs": ["agent.action/1", "agent.decision/1"],
    "rule": {
        "rule": "out_of",
        "at_least": 2,
        "of": [
            TWO_OF_THREE,
            {"rule": "role", "role": "auditor", "at_least": 1},
            {"rule": "key", "key": AGENT_KEY},
        ],
    },
    "veto": {"rule": "role", "role": "auditor"},
    "withdrawn_by": "member",
}
QUORUM_POLICY: Body = {**POLICY, "name": "quorum", "governs": ["member/1", "policy/1"]}
AUDIENCE: Body = {
    "type": "llm.call/1",
    "entry": "members",
    "parts": {"request": "parties", "response": "roles"},
    "roles": ["auditor"],
}

CHARTER: Body = {
    "keys": [
        {"key": OPERATOR_KEY, "roles": ["operator"]},
        {"key": AGENT_KEY, "roles": ["agent"]},
    ],
    "kind": "private",
    "log_key": LOG_VKEY,
    "origin": ORIGIN,
}
CONSORTIUM: Body = {
    **CHARTER,
    "kind": "consortium",
    "keys": [
        {"key": OPERATOR_KEY, "roles": ["operator"]},
        {"key": STEWARD_KEY, "roles": ["steward"], "member": "acme"},
        {"key": AGENT_KEY, "roles": ["agent"], "member": "acme"},
        {"key": OTHER_KEY, "roles": ["agent", "steward"], "member": "birch"},
    ],
    "members": [{"name": "acme", "roles": ["auditor"]}, {"name": "birch"}, {"name": "cobalt"}],
    "policies": [QUORUM_POLICY, POLICY],
    "audiences": [AUDIENCE],
}
LOCAL: Body = {
    **CONSORTIUM,
    "kind": "local",
    "policies": [],
    "parties": ["acme", "birch"],
    "parent": {"origin": "ledgergrid.example/parent", "charter": digest("charter")},
}
REGISTER: Body = {
    "action": "register",
    "key": OTHER_KEY,
    "possession": possess(),
    "roles": ["agent"],
}
REVOKE: Body = {"action": "revoke", "key": OTHER_KEY, "reason": "compromised"}
ROTATION: Body = {"key": OTHER_KEY, "possession": possess()}
LOG_KEY: Body = {
    "old": LOG_VKEY,
    "new": NEXT_VKEY,
    "by_old": hand_over(LOG.private),
    "by_new": hand_over(NEXT_LOG),
}
HELD: Body = {"key": OTHER_KEY, "roles": ["steward"], "possession": possess()}
ADMIT: Body = {"action": "admit", "member": "birch", "keys": [HELD], "roles": ["auditor"]}
GRANT: Body = {"action": "grant", "member": "acme", "role": "auditor"}
SET: Body = {"action": "set", "policy": NESTED_POLICY}
LIFT: Body = {"action": "lift", "governs": ["note/1", "agent.action/1"]}
ENDORSEMENT: Body = {
    "proposal": digest("proposal"),
    "policy": digest("policy"),
    "decision": "approve",
    "ends_at": "2026-08-02T10:11:12.400Z",
}
BUNDLE: Body = {"proposals": [digest("one"), digest("two")]}
OUTCOME: Body = {
    "proposal": digest("proposal"),
    "policy": digest("policy"),
    "verdict": "confirmed",
    "reason": "quorum",
}
EQUIVOCATION: Body = {"kind": "endorsement", "first": digest("one"), "second": digest("two")}
ANCHOR: Body = {
    "origin": "ledgergrid.example/local-7",
    "charter": digest("charter"),
    "size": 12,
    "root": digest("root"),
}

EXAMPLES: dict[str, dict[str, Body]] = {
    "charter/1": {"charter": CHARTER, "consortium's charter": CONSORTIUM, "local charter": LOCAL},
    "key/1": {
        "registration": REGISTER,
        "registration for a member": {**REGISTER, "roles": ["steward"], "member": "birch"},
        "revocation": REVOKE,
        "revocation that doubts what came before": {**REVOKE, "suspect_since": 17},
    },
    "key.rotation/1": {"rotation": ROTATION},
    "log.key/1": {"handover": LOG_KEY},
    "member/1": {
        "admission": ADMIT,
        "admission without roles": {k: v for k, v in ADMIT.items() if k != "roles"},
        **{
            action: {"action": action, "member": "birch"}
            for action in ("suspend", "resume", "remove")
        },
        "grant": GRANT,
        "withdrawal of a role": {**GRANT, "action": "withdraw"},
    },
    "policy/1": {
        "policy": SET,
        "smallest policy": {"action": "set", "policy": POLICY},
        "lifting": LIFT,
    },
    "audience/1": {
        "audience": {"setting": AUDIENCE},
        "audience of entries alone": {"setting": {"type": "note/1", "entry": "operator"}},
        "audience of a part alone": {"setting": {"type": "note/1", "parts": {"body": "public"}}},
    },
    "endorsement/1": {
        "agreement": ENDORSEMENT,
        "refusal in a role": {**ENDORSEMENT, "decision": "reject", "role": "auditor"},
    },
    "withdrawal/1": {"withdrawal": {"proposal": digest("proposal")}},
    "bundle/1": {"bundle": BUNDLE},
    "outcome/1": {
        "outcome": OUTCOME,
        "expiry": {**OUTCOME, "verdict": "expired", "reason": "time"},
    },
    "equivocation/1": {
        "of endorsements": EQUIVOCATION,
        "of a stream": {**EQUIVOCATION, "kind": "stream"},
    },
    "anchor/1": {"anchor": ANCHOR},
    "closing/1": {"closing": {"reason": "paid"}, "closing without a reason": {}},
}
"""Good bodies of every governance type, and of anchors."""
