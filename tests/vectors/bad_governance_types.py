"""Payloads of governance types that are refused, with why (docs/spec/record-types.md)."""

from __future__ import annotations

from ledger_core import limits
from tests.vectors.build import AGENT, LOG, ORIGIN
from tests.vectors.governance_types import (
    ADMIT,
    AGENT_KEY,
    ANCHOR,
    AUDIENCE,
    CHARTER,
    CONSORTIUM,
    ENDORSEMENT,
    EQUIVOCATION,
    GRANT,
    HELD,
    LIFT,
    LOCAL,
    LOG_KEY,
    MEMBER_RULES,
    NEXT_LOG,
    NEXT_VKEY,
    OPERATOR_KEY,
    OTHER,
    OTHER_KEY,
    OUTCOME,
    POLICY,
    QUORUM_POLICY,
    REGISTER,
    REVOKE,
    ROTATION,
    SMALL_KEY,
    STEWARD,
    TWO_OF_THREE,
    Body,
    digest,
    hand_over,
    make_vkey,
    possess,
)
from tests.vectors.notes import LOG_VKEY, WITNESS_VKEY


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
        "a part whose name is none": {**AUDIENCE, "parts": {"Request": "roles"}},
        "a part whose name is too long": {**AUDIENCE, "parts": {"r" * 33: "roles"}},
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
