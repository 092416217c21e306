"""Payloads of governance types for docs/spec/record-types.md: good ones, and bad ones with why."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Any

from ledger_core import ids, limits
from ledger_core.formats import ed25519
from tests.vectors.build import AGENT, LOG, OPERATOR, ORIGIN
from tests.vectors.edwards25519 import IDENTITY, encode
from tests.vectors.notes import LOG_VKEY, WITNESS_VKEY

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


# --- what is refused -----------------------------------------------------------------


def without(body: Body, name: str) -> Body:
    return {key: value for key, value in body.items() if key != name}


def bad_charters() -> dict[str, Body]:
    founders = [{"key": OPERATOR_KEY, "roles": ["operator"]}]
    return {
        "an origin that is not its ledger": {**CHARTER, "origin": "other.example/log"},
        "a log key with a broken id": {**CHARTER, "log_key": LOG_VKEY.replace("log1", "log2")},
        "a witness's key as log key": {**CHARTER, "log_key": WITNESS_VKEY},
        "a kind unknown": {**CHARTER, "kind": "secret"},
        "no keys": {**CHARTER, "keys": []},
        "no operator": {**CHARTER, "keys": [{"key": AGENT_KEY, "roles": ["agent"]}]},
        "an author who is no operator": {
            **CHARTER,
            "keys": [
                {"key": OPERATOR_KEY, "roles": ["agent"]},
                {"key": AGENT_KEY, "roles": ["operator"]},
            ],
        },
        "a key twice": {**CHARTER, "keys": founders * 2},
        "a key with spare bits set": {
            **CHARTER,
            "keys": [*founders, {"key": AGENT_KEY[:-1] + "9", "roles": ["agent"]}],
        },
        "a key of small order": {
            **CHARTER,
            "keys": [*founders, {"key": SMALL_KEY, "roles": ["agent"]}],
        },
        "a role twice": {**CHARTER, "keys": [{"key": OPERATOR_KEY, "roles": ["operator"] * 2}]},
        "an unknown role": {**CHARTER, "keys": [{"key": OPERATOR_KEY, "roles": ["root"]}]},
        "no roles": {**CHARTER, "keys": [{"key": OPERATOR_KEY, "roles": []}]},
        **_bad_consortia(),
        **_bad_locals(),
    }


def _bad_consortia() -> dict[str, Body]:
    keys, members = CONSORTIUM["keys"], CONSORTIUM["members"]
    return {
        "a member twice": {**CONSORTIUM, "members": [*members, {"name": "acme"}]},
        "a member whose name is not one": {**CONSORTIUM, "members": [*members, {"name": "Acme"}]},
        "a member whose name ends in a line end": {
            **CONSORTIUM,
            "members": [*members, {"name": "dune\n"}],
        },
        "the role of every member given": {
            **CONSORTIUM,
            "members": [*members, {"name": "dune", "roles": ["member"]}],
        },
        "a role of a member twice": {
            **CONSORTIUM,
            "members": [*members, {"name": "dune", "roles": ["auditor", "auditor"]}],
        },
        "a key of a member unknown": {
            **CHARTER,
            "keys": [*CHARTER["keys"], {"key": OTHER_KEY, "roles": ["agent"], "member": "acme"}],
        },
        "a member's operator": {
            **CONSORTIUM,
            "keys": [{**keys[0], "member": "acme"}, *keys[1:]],
        },
        "a steward of no member": {
            **CHARTER,
            "keys": [*CHARTER["keys"], {"key": OTHER_KEY, "roles": ["steward"]}],
        },
        "a consortium of no members": {**CONSORTIUM, "members": [], "keys": keys[:1]},
        "a consortium without a policy for members": {
            **CONSORTIUM,
            "policies": [{**QUORUM_POLICY, "governs": ["policy/1"]}],
        },
        "a consortium without a policy for policies": {
            **CONSORTIUM,
            "policies": [{**QUORUM_POLICY, "governs": ["member/1"]}],
        },
        "two policies for one type": {**CONSORTIUM, "policies": [QUORUM_POLICY, POLICY, POLICY]},
        "a policy that can never be met": {
            **CONSORTIUM,
            "policies": [QUORUM_POLICY, {**POLICY, "rule": {**TWO_OF_THREE, "at_least": 4}}],
        },
        "an audience twice": {**CONSORTIUM, "audiences": [AUDIENCE] * 2},
        "an audience of roles without roles": {
            **CONSORTIUM,
            "audiences": [without(AUDIENCE, "roles")],
        },
    }


def _bad_locals() -> dict[str, Body]:
    return {
        "parties in a ledger that is not local": {**LOCAL, "kind": "private"},
        "a parent in a ledger that is not local": {
            **without(LOCAL, "parties"),
            "kind": "public",
        },
        "a local ledger without parties": {**LOCAL, "parties": []},
        "a local ledger without a parent": without(LOCAL, "parent"),
        "parties unsorted": {**LOCAL, "parties": ["birch", "acme"]},
        "a party twice": {**LOCAL, "parties": ["acme", "acme"]},
        "a party unknown": {**LOCAL, "parties": ["acme", "zinc"]},
        "a parent whose origin is none": {**LOCAL, "parent": {**LOCAL["parent"], "origin": "a b"}},
        "a parent whose charter is no digest": {
            **LOCAL,
            "parent": {**LOCAL["parent"], "charter": "sha256:AA"},
        },
    }


def bad_keys() -> dict[str, Body]:
    return {
        "no possession": without(REGISTER, "possession"),
        "possession shown for another ledger": {
            **REGISTER,
            "possession": possess(origin="other.example"),
        },
        "possession shown by another key": {
            **REGISTER,
            "possession": possess(AGENT, claimed=OTHER_KEY),
        },
        "possession of another key": {**REGISTER, "possession": possess(AGENT)},
        "possession in padded base64": {**REGISTER, "possession": possess() + "=="},
        "a key of small order": {**REGISTER, "key": SMALL_KEY},
        "a key in hex": {**REGISTER, "key": "ed25519:" + OTHER.public_key.hex()},
        "a role twice": {**REGISTER, "roles": ["agent", "agent"]},
        "an unknown role": {**REGISTER, "roles": ["auditor"]},
        "an unknown action": {**REGISTER, "action": "renew"},
        "no action": without(REGISTER, "action"),
        "a revocation with roles": {**REVOKE, "roles": ["agent"]},
        "a revocation without a reason": without(REVOKE, "reason"),
        "a revocation for a reason unknown": {**REVOKE, "reason": "bored"},
        "a revocation of no key": {**REVOKE, "key": "ed25519:"},
        "a revocation of its own author": {**REVOKE, "key": OPERATOR_KEY},
        "a member's operator": {**REGISTER, "roles": ["operator"], "member": "birch"},
        "a steward of no member": {**REGISTER, "roles": ["steward"]},
        "a member whose name is not one": {**REGISTER, "member": "Birch"},
        "doubts from before the ledger": {**REVOKE, "suspect_since": -1},
        "doubts about a registration": {**REGISTER, "suspect_since": 1},
    }


def _bad_rotations() -> dict[str, Body]:
    return {
        "no possession": without(ROTATION, "possession"),
        "possession of another key": {**ROTATION, "possession": possess(STEWARD)},
        "possession shown for another ledger": {
            **ROTATION,
            "possession": possess(origin="other.example"),
        },
        "itself as successor": {"key": AGENT_KEY, "possession": possess(AGENT)},
        "roles": {**ROTATION, "roles": ["operator"]},
    }


def _bad_log_keys() -> dict[str, Body]:
    elsewhere = make_vkey(NEXT_LOG, "other.example")
    return {
        "the new key alone signing": {**LOG_KEY, "by_old": hand_over(NEXT_LOG)},
        "the old key alone signing": {**LOG_KEY, "by_new": hand_over(LOG.private)},
        "a signature for another ledger": {
            **LOG_KEY,
            "by_new": hand_over(NEXT_LOG, origin="other.example"),
        },
        "a signature for another pair": {
            **LOG_KEY,
            "by_old": hand_over(LOG.private, old=NEXT_VKEY, new=LOG_VKEY),
        },
        "a log key of another name": {
            "old": LOG_VKEY,
            "new": elsewhere,
            "by_old": hand_over(LOG.private, new=elsewhere),
            "by_new": hand_over(NEXT_LOG, new=elsewhere),
        },
        "a witness's key": {**LOG_KEY, "new": WITNESS_VKEY},
        "itself as successor": {
            "old": LOG_VKEY,
            "new": LOG_VKEY,
            "by_old": hand_over(LOG.private, new=LOG_VKEY),
            "by_new": hand_over(LOG.private, new=LOG_VKEY),
        },
        "one signature": without(LOG_KEY, "by_old"),
    }


def _bad_members() -> dict[str, Body]:
    return {
        "no keys": {**ADMIT, "keys": []},
        "a key twice": {**ADMIT, "keys": [HELD, {**HELD, "roles": ["agent"]}]},
        "a key without possession": {**ADMIT, "keys": [without(HELD, "possession")]},
        "a key of another's possession": {
            **ADMIT,
            "keys": [{**HELD, "possession": possess(STEWARD)}],
        },
        "a member's operator": {**ADMIT, "keys": [{**HELD, "roles": ["operator"]}]},
        "a role of a key twice": {**ADMIT, "keys": [{**HELD, "roles": ["agent", "agent"]}]},
        "a name in capitals": {**ADMIT, "member": "Birch"},
        "a name that ends in a line end": {**ADMIT, "member": "birch\n"},
        "a name too long": {**ADMIT, "member": "b" * 64},
        "a role twice": {**ADMIT, "roles": ["auditor", "auditor"]},
        "the role of every member given": {**ADMIT, "roles": ["member"]},
        "the role of every member granted": {**GRANT, "role": "member"},
        "the role of every member withdrawn": {**GRANT, "action": "withdraw", "role": "member"},
        "a grant of nothing": without(GRANT, "role"),
        "a role that ends in a line end": {**GRANT, "role": "auditor\n"},
        "a suspension with a role": {**GRANT, "action": "suspend"},
        "an unknown action": {"action": "expel", "member": "birch"},
    }


def _bad_policies() -> dict[str, Body]:
    deep: Body = MEMBER_RULES[0]
    for _ in range(limits.RULE_DEPTH):
        deep = {"rule": "out_of", "at_least": 1, "of": [deep]}
    ten = {"rule": "out_of", "at_least": 1, "of": MEMBER_RULES * 4}
    wide = {"rule": "out_of", "at_least": 1, "of": [ten] * (limits.RULE_NODES // 13 + 1)}
    rules: dict[str, Body] = {
        "more than there are asked for": {**TWO_OF_THREE, "at_least": 4},
        "nothing asked for": {**TWO_OF_THREE, "at_least": 0},
        "a fraction asked for": {**TWO_OF_THREE, "at_least": 1.5},
        "nobody to ask": {"rule": "out_of", "at_least": 1, "of": []},
        "a rule nested too deep": deep,
        "a rule of too many parts": wide,
        "a rule unknown": {"rule": "not", "of": [MEMBER_RULES[0]]},
        "a rule that is none": {"member": "acme"},
        "a key in hex": {"rule": "key", "key": "ed25519:" + OTHER.public_key.hex()},
        "a key that is none": {"rule": "key", "key": "ed25519:agent"},
        "a role asked for too often": {"rule": "role", "role": "auditor", "at_least": 257},
    }
    policies: dict[str, Body] = {
        **{name: {**POLICY, "rule": rule} for name, rule in rules.items()},
        "a bad veto": {**POLICY, "veto": {"rule": "key", "key": ""}},
        "a type twice": {**POLICY, "governs": ["note/1", "note/1"]},
        "a type without a version": {**POLICY, "governs": ["note"]},
        "no types": {**POLICY, "governs": []},
        "no time": {**POLICY, "ttl_s": 0},
        "too much time": {**POLICY, "ttl_s": limits.PROPOSAL_TTL_S + 1},
        "a way of counting unknown": {**POLICY, "count_by": "agent"},
        "no word on its author": without(POLICY, "author_counts"),
        "a withdrawal by anyone": {**POLICY, "withdrawn_by": "anyone"},
        "a field unknown": {**POLICY, "quorum": 2},
    }
    return {
        **{name: {"action": "set", "policy": policy} for name, policy in policies.items()},
        "a lifted type twice": {**LIFT, "governs": ["note/1", "note/1"]},
        "a lifted type without a version": {**LIFT, "governs": ["note"]},
        "nothing lifted": {**LIFT, "governs": []},
        "an unknown action": {**LIFT, "action": "drop"},
    }


def _bad_audiences() -> dict[str, Body]:
    settings: dict[str, Body] = {
        "nothing set": {"type": "note/1"},
        "a type without a version": {**AUDIENCE, "type": "note"},
        "an audience unknown": {**AUDIENCE, "entry": "friends"},
        "roles named for nothing": {**AUDIENCE, "parts": {}},
        "roles asked for and not named": without(AUDIENCE, "roles"),
        "a role twice": {**AUDIENCE, "roles": ["auditor", "auditor"]},
        "too many parts": {
            **AUDIENCE,
            "parts": {f"part{n}": "roles" for n in range(limits.PAYLOAD_PARTS + 1)},
        },
    }
    return {name: {"setting": setting} for name, setting in settings.items()}


def _bad_words() -> dict[str, dict[str, Body]]:
    """Endorsements, withdrawals, bundles and what the service writes of them."""
    short = "sha256:" + "A" * 42
    return {
        "endorsement/1": {
            "a proposal by id": {**ENDORSEMENT, "proposal": "01990b1f-5a00-7000-8000-1"},
            "a policy by name": {**ENDORSEMENT, "policy": "two-of-three"},
            "no policy": without(ENDORSEMENT, "policy"),
            "no decision": without(ENDORSEMENT, "decision"),
            "a decision unknown": {**ENDORSEMENT, "decision": "abstain"},
            "no end": without(ENDORSEMENT, "ends_at"),
            "an end that is no time": {**ENDORSEMENT, "ends_at": "tomorrow"},
            "an end in another zone": {**ENDORSEMENT, "ends_at": "2026-08-02T10:11:12.400+01:00"},
            "a role in capitals": {**ENDORSEMENT, "role": "Auditor"},
        },
        "withdrawal/1": {
            "no proposal": {},
            "a digest in capitals": {"proposal": digest("proposal").upper()},
            "a reason": {"proposal": digest("proposal"), "reason": "no"},
        },
        "bundle/1": {
            "one proposal": {"proposals": [digest("one")]},
            "a proposal twice": {"proposals": [digest("one"), digest("one")]},
            "a digest too short": {"proposals": [digest("one"), short]},
            "too many proposals": {
                "proposals": [digest(str(n)) for n in range(limits.BUNDLE_RECORDS + 1)]
            },
        },
        "outcome/1": {
            "a verdict unknown": {**OUTCOME, "verdict": "accepted"},
            "a reason unknown": {**OUTCOME, "reason": "fate"},
            "a proposal that is no digest": {**OUTCOME, "proposal": short},
            "a policy that is no digest": {**OUTCOME, "policy": ""},
        },
        "equivocation/1": {
            "one entry named twice": {**EQUIVOCATION, "second": EQUIVOCATION["first"]},
            "a kind unknown": {**EQUIVOCATION, "kind": "lie"},
            "no second entry": without(EQUIVOCATION, "second"),
            "an entry that is no digest": {**EQUIVOCATION, "first": "one"},
        },
    }


def _bad_ends() -> dict[str, dict[str, Body]]:
    return {
        "anchor/1": {
            "its own ledger": {**ANCHOR, "origin": ORIGIN},
            "an origin that is none": {**ANCHOR, "origin": "a b"},
            "an empty ledger": {**ANCHOR, "size": 0},
            "a size below zero": {**ANCHOR, "size": -1},
            "a root without its algorithm": {
                **ANCHOR,
                "root": ANCHOR["root"].removeprefix("sha256:"),
            },
            "a charter that is no digest": {**ANCHOR, "charter": ""},
        },
        "closing/1": {
            "a reason too long": {"reason": "a" * 201},
            "a zero byte in its reason": {"reason": "a\x00"},
            "a field unknown": {"parties": []},
        },
    }


BAD: dict[str, dict[str, Body]] = {
    "charter/1": bad_charters(),
    "key/1": bad_keys(),
    "key.rotation/1": _bad_rotations(),
    "log.key/1": _bad_log_keys(),
    "member/1": _bad_members(),
    "policy/1": _bad_policies(),
    "audience/1": _bad_audiences(),
    **_bad_words(),
    **_bad_ends(),
}
"""Bodies that are refused, by type and what is wrong with them."""
