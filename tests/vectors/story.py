"""What histories of governance are told with: a ledger of three members, entry by entry."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from ledger_core import ids
from tests.vectors.build import RECEIVED_AT_MS
from tests.vectors.governance_types import POLICY, TWO_OF_THREE

Body = dict[str, Any]
OPERATOR = "ed25519:operator"
MEMBERS = ("acme", "birch", "cobalt")
DAY_MS = 86_400_000


def agent(member: str, number: int = 1) -> str:
    return f"ed25519:{member}-agent-{number}"


def steward(member: str) -> str:
    return f"ed25519:{member}-steward"


def by_member(name: str) -> Body:
    return {"rule": "member", "member": name}


def by_key(key: str) -> Body:
    return {"rule": "key", "key": key}


def out_of(at_least: int, *of: Body) -> Body:
    return {"rule": "out_of", "at_least": at_least, "of": list(of)}


def digest(raw: bytes) -> str:
    return f"sha256:{ids.encode_base64url(sha256(raw).digest())}"


def hash_policy(policy: Body) -> str:
    """Hash a policy whose fields are all spelled as they are hashed."""
    text = json.dumps(policy, sort_keys=True, separators=(",", ":"))
    return digest(b"ledgergrid/policy@v1\n" + text.encode())


def hash_policies(*hashes: str) -> str:
    raw = [ids.decode_base64url(each.removeprefix("sha256:"), 32) for each in hashes]
    return digest(b"ledgergrid/bundle-policies@v1\n" + b"".join(sorted(raw)))


def show_time(ms: int) -> str:
    shown = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{shown}.{ms % 1000:03d}Z"


def make_policy(*governs: str, **changed: Any) -> Body:
    return {**POLICY, "governs": list(governs), **changed}


WEAK = make_policy("note/1", name="weak", rule=by_member("acme"))
STRICT = make_policy("note/1", name="strict", rule={**TWO_OF_THREE, "at_least": 3})
QUORUM = make_policy("member/1", "policy/1", name="quorum")
ACTIONS = make_policy("agent.action/1", name="actions", rule=by_member("cobalt"), ttl_s=60)
ACTION = {"action": "pay", "status": "succeeded"}


class Story:
    """A ledger of three members, each with a steward and two agents, told entry by entry."""

    def __init__(self, *policies: Body, kind: str = "private", **charter: Any) -> None:
        keys: list[Body] = [{"key": OPERATOR, "roles": ["operator"]}]
        for name in MEMBERS:
            keys.append({"key": steward(name), "roles": ["steward"], "member": name})
            keys += [{"key": agent(name, n), "roles": ["agent"], "member": name} for n in (1, 2)]
        self.acts: list[Body] = []
        self.steps: list[Body] = []
        self.now_ms = RECEIVED_AT_MS
        self._names: dict[str, tuple[str, int]] = {}
        members = [{"name": name} for name in MEMBERS]
        founding = {"kind": kind, "keys": keys, "members": members, "policies": list(policies)}
        self.act("charter/1", OPERATOR, {"origin": "o", "log_key": "log", **founding, **charter})

    def act(
        self,
        kind: str,
        author: str,
        body: Any = None,
        waits: Body | None = None,
        numbered: tuple[str, int] | None = None,
    ) -> str:
        """Append an entry, and say under which policy it waits; return its leaf hash."""
        leaf_hash = digest(b"entry %d" % len(self.acts))
        self.acts.append(
            {
                "leaf_hash": leaf_hash,
                "received_at": show_time(self.now_ms),
                "type": kind,
                "author": author,
                "body": {} if body is None else body,
            }
        )
        if numbered is not None:
            self.acts[-1] |= {"stream": numbered[0], "n": numbered[1]}
        self.steps.append({} if waits is None else {"waits_under": hash_policy(waits)})
        if waits is not None:
            self.promise(leaf_hash, waits)
        return leaf_hash

    def note(self, author: str = agent("acme"), waits: Body = POLICY) -> str:
        return self.act("note/1", author, waits=waits)

    def bundle(self, *parts: str, author: str = agent("acme")) -> str:
        bundle = self.act("bundle/1", author, {"proposals": list(parts)})
        hashes = {self._names[part][0] for part in parts}
        named = hash_policies(*hashes) if len(hashes) > 1 else hashes.pop()
        self._names[bundle] = named, min(self._names[part][1] for part in parts)
        return bundle

    def promise(self, leaf_hash: str, policy: Body = POLICY) -> None:
        """Make out that an entry waits, so that it can be spoken of."""
        self._names[leaf_hash] = hash_policy(policy), self.now_ms + policy["ttl_s"] * 1000

    def endorse(self, proposal: str, author: str, decision: str = "approve", **changed: str) -> str:
        policy, ends_at = self._names[proposal]
        body = {
            "proposal": proposal,
            "policy": policy,
            "decision": decision,
            "ends_at": show_time(ends_at),
        }
        return self.act("endorsement/1", author, body | changed)

    def withdraw(self, proposal: str, author: str = agent("acme")) -> None:
        self.act("withdrawal/1", author, {"proposal": proposal})

    def outcome(self, proposal: str, verdict: str, reason: str) -> Body:
        policy, _ = self._names[proposal]
        return {"proposal": proposal, "policy": policy, "verdict": verdict, "reason": reason}

    def conclude(self, proposal: str, verdict: str, reason: str) -> None:
        """Append an outcome that nobody is waiting for."""
        self.act("outcome/1", OPERATOR, self.outcome(proposal, verdict, reason))

    def ends(self, proposal: str, verdict: str, reason: str) -> None:
        """Say that the last entry ended a proposal, and append the outcome that is due."""
        self.follows("outcome/1", self.outcome(proposal, verdict, reason))

    def contradicts(self, first: str, second: str) -> None:
        self.follows("equivocation/1", {"kind": "endorsement", "first": first, "second": second})

    def repeats(self, first: str, second: str) -> None:
        self.follows("equivocation/1", {"kind": "stream", "first": first, "second": second})

    def follows(self, kind: str, body: Body) -> None:
        self.steps[-1].setdefault("due", []).append({"type": kind, "body": body})
        self.act(kind, OPERATOR, body)


def local_ledger() -> Story:
    parent = {"origin": "parent.example", "charter": digest(b"charter")}
    return Story(kind="local", parties=["acme", "birch"], parent=parent)
