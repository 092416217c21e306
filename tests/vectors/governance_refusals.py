"""Histories of governance whose last entry is refused."""

from __future__ import annotations

from collections.abc import Callable

from tests.vectors.governance_types import POLICY
from tests.vectors.story import (
    ACTION,
    ACTIONS,
    DAY_MS,
    OPERATOR,
    QUORUM,
    WEAK,
    Story,
    agent,
    by_member,
    digest,
    hash_policy,
    local_ledger,
    make_policy,
    steward,
)

Telling = Callable[[], Story]
REFUSED: dict[str, Telling] = {}
CODES = {"a record behind a local ledger's closing": "closed"}
"""What is refused for another reason than standing."""

NEW_KEY = {"action": "register", "key": "ed25519:new", "roles": ["agent"], "possession": "…"}


def refused(name: str) -> Callable[[Telling], Telling]:
    return lambda telling: REFUSED.setdefault(name, telling)


# --- endorsing ---------------------------------------------------------------------------


@refused("an endorsement of a record that never waited")
def _() -> Story:
    story = Story(POLICY)
    record = story.act("agent.action/1", agent("acme"), ACTION)
    story.promise(record)
    story.endorse(record, agent("birch"))
    return story


@refused("an endorsement under another policy")
def _() -> Story:
    story = Story(POLICY)
    story.endorse(story.note(), agent("birch"), policy=hash_policy(WEAK))
    return story


@refused("an endorsement that names another end")
def _() -> Story:
    story = Story(POLICY)
    story.endorse(story.note(), agent("birch"), ends_at="2026-09-01T00:00:00.000Z")
    return story


@refused("an endorsement by who is suspended")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.act("member/1", OPERATOR, {"action": "suspend", "member": "birch"})
    story.endorse(note, agent("birch"))
    return story


@refused("an endorsement by a key nobody registered")
def _() -> Story:
    story = Story(POLICY)
    story.endorse(story.note(), "ed25519:nobody")
    return story


@refused("an endorsement of a proposal that is in a bundle")
def _() -> Story:
    story = Story(POLICY)
    notes = [story.note() for _ in range(2)]
    story.bundle(*notes)
    story.endorse(notes[0], agent("birch"))
    return story


# --- outcomes and evidence -----------------------------------------------------------------


@refused("a confirmation without its quorum")
def _() -> Story:
    story = Story(POLICY)
    story.conclude(story.note(), "confirmed", "quorum")
    return story


@refused("an expiry before its time")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.now_ms += DAY_MS - 1
    story.conclude(note, "expired", "time")
    return story


@refused("a second outcome")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.endorse(note, agent("birch"))
    story.ends(note, "confirmed", "quorum")
    story.now_ms += DAY_MS
    story.conclude(note, "expired", "time")
    return story


@refused("another outcome than is due")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.endorse(note, agent("birch"))
    story.conclude(note, "rejected", "out-of-reach")
    return story


@refused("a record before what is due")
def _() -> Story:
    story = Story(POLICY)
    story.endorse(story.note(), agent("birch"))
    story.act("agent.action/1", agent("acme"), ACTION)
    return story


@refused("an outcome written by a member")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.endorse(note, agent("birch"))
    story.act("outcome/1", steward("acme"), story.outcome(note, "confirmed", "quorum"))
    return story


@refused("an outcome for one proposal of a bundle")
def _() -> Story:
    story = Story(POLICY)
    notes = [story.note() for _ in range(2)]
    story.bundle(*notes)
    story.now_ms += DAY_MS
    story.conclude(notes[0], "expired", "time")
    return story


@refused("evidence of what nobody said")
def _() -> Story:
    story = Story(POLICY)
    body = {"kind": "endorsement", "first": story.note(), "second": story.note()}
    story.act("equivocation/1", OPERATOR, body)
    return story


# --- withdrawing and bundling ----------------------------------------------------------------


@refused("a withdrawal by a colleague where the author alone withdraws")
def _() -> Story:
    story = Story(POLICY)
    story.withdraw(story.note(), agent("acme", 2))
    return story


@refused("a withdrawal by another member")
def _() -> Story:
    policy = make_policy("note/1", withdrawn_by="member")
    story = Story(policy)
    story.withdraw(story.note(waits=policy), agent("birch"))
    return story


@refused("a withdrawal where nobody withdraws")
def _() -> Story:
    policy = make_policy("note/1", withdrawn_by="nobody")
    story = Story(policy)
    story.withdraw(story.note(waits=policy))
    return story


@refused("a withdrawal at the proposal's end")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.now_ms += DAY_MS
    story.withdraw(note)
    return story


@refused("a bundle of another author's proposals")
def _() -> Story:
    story = Story(POLICY)
    story.bundle(story.note(), story.note(agent("birch")))
    return story


@refused("a bundle of a bundle")
def _() -> Story:
    story = Story(POLICY)
    bundle = story.bundle(story.note(), story.note())
    story.bundle(bundle, story.note())
    return story


@refused("a bundle with a proposal that has its outcome")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.withdraw(note)
    story.ends(note, "withdrawn", "withdrawal")
    story.bundle(note, story.note())
    return story


@refused("a bundle with a proposal that has ended")
def _() -> Story:
    story = Story(POLICY, ACTIONS)
    action = story.act("agent.action/1", agent("acme"), ACTION, waits=ACTIONS)
    story.now_ms += 60_000
    story.bundle(action, story.note())
    return story


# --- changing who may -----------------------------------------------------------------------


@refused("a charter that lets endorsements wait")
def _() -> Story:
    return Story(make_policy("endorsement/1"))


@refused("a policy that lets a key's rotation wait")
def _() -> Story:
    story = Story()
    policy = make_policy("key.rotation/1")
    story.act("policy/1", OPERATOR, {"action": "set", "policy": policy})
    return story


@refused("a policy over types that have different ones")
def _() -> Story:
    story = Story(QUORUM, WEAK, kind="consortium")
    policy = make_policy("note/1", "key/1")
    story.act("policy/1", steward("acme"), {"action": "set", "policy": policy})
    return story


@refused("a policy by a steward where none is in force")
def _() -> Story:
    story = Story()
    story.act("policy/1", steward("acme"), {"action": "set", "policy": POLICY})
    return story


@refused("lifting a policy that there is not")
def _() -> Story:
    story = Story()
    story.act("policy/1", OPERATOR, {"action": "lift", "governs": ["note/1"]})
    return story


@refused("lifting what a consortium changes by quorum")
def _() -> Story:
    story = Story(QUORUM, kind="consortium")
    lift = {"action": "lift", "governs": ["member/1"]}
    story.act("policy/1", steward("acme"), lift)
    return story


@refused("a consortium's operator registering a member's key")
def _() -> Story:
    story = Story(QUORUM, kind="consortium")
    story.act("key/1", OPERATOR, {**NEW_KEY, "member": "birch"})
    return story


@refused("a steward registering another member's key")
def _() -> Story:
    story = Story()
    story.act("key/1", steward("acme"), {**NEW_KEY, "member": "birch"})
    return story


@refused("a key registered again")
def _() -> Story:
    story = Story()
    story.act("key/1", OPERATOR, {"action": "revoke", "key": agent("birch"), "reason": "lost"})
    story.act("key/1", OPERATOR, {**NEW_KEY, "key": agent("birch")})
    return story


@refused("doubts about what a key has yet to sign")
def _() -> Story:
    story = Story()
    doubt = {"action": "revoke", "key": agent("birch"), "reason": "lost", "suspect_since": 2}
    story.act("key/1", OPERATOR, doubt)
    return story


@refused("a record by a key that was succeeded")
def _() -> Story:
    story = Story()
    rotation = {"key": "ed25519:next", "possession": "…"}
    story.act("key.rotation/1", agent("acme"), rotation)
    story.act("note/1", agent("acme"))
    return story


@refused("a member admitted again")
def _() -> Story:
    story = Story()
    key = {"key": "ed25519:new", "roles": ["steward"], "possession": "…"}
    story.act("member/1", OPERATOR, {"action": "remove", "member": "birch"})
    story.act("member/1", OPERATOR, {"action": "admit", "member": "birch", "keys": [key]})
    return story


@refused("a member suspended twice")
def _() -> Story:
    story = Story()
    for _ in range(2):
        story.act("member/1", OPERATOR, {"action": "suspend", "member": "birch"})
    return story


@refused("a log key that succeeds one the log has no more")
def _() -> Story:
    story = Story()
    for new in ("next", "other"):
        handover = {"old": "log", "new": new, "by_old": "…", "by_new": "…"}
        story.act("log.key/1", OPERATOR, handover)
    return story


@refused("a second charter")
def _() -> Story:
    story = Story()
    story.act("charter/1", OPERATOR, story.acts[0]["body"])
    return story


@refused("a record behind a local ledger's closing")
def _() -> Story:
    story = local_ledger()
    story.act("closing/1", agent("acme"))
    story.act("note/1", agent("acme"))
    return story


@refused("a closing by who is no party")
def _() -> Story:
    story = local_ledger()
    story.act("closing/1", agent("cobalt"))
    return story


@refused("a closing of a ledger that is not local")
def _() -> Story:
    story = Story()
    story.act("closing/1", OPERATOR)
    return story


@refused("a record by a member before its admission")
def _() -> Story:
    story = Story(make_policy("note/1", rule=by_member("dune")), origin=digest(b"o"))
    story.act("note/1", agent("dune"))
    return story
