"""Vectors of governance (docs/spec/governance.md): histories, and what follows from each entry.

Keys are short names and signatures are left out: they were checked before governance looks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.vectors.build import Case, accept, refuse
from tests.vectors.governance_refusals import CODES, REFUSED
from tests.vectors.governance_types import (
    NESTED_POLICY,
    POLICY,
    TWO_OF_THREE,
)
from tests.vectors.story import (
    ACTION,
    ACTIONS,
    DAY_MS,
    OPERATOR,
    QUORUM,
    STRICT,
    WEAK,
    Story,
    agent,
    by_key,
    by_member,
    hash_policies,
    hash_policy,
    local_ledger,
    make_policy,
    out_of,
    steward,
)

ABOUT = "Governance: policies' hashes; histories of entries and what is due after each"
PAGE = "governance.md"

TOLD: dict[str, Callable[[], Story]] = {}


def told(name: str) -> Callable[[Callable[[], Story]], Callable[[], Story]]:
    return lambda telling: TOLD.setdefault(name, telling)


# --- how proposals end ---------------------------------------------------------------


@told("without a policy a record takes effect at once")
def _() -> Story:
    story = Story()
    story.act("note/1", agent("acme"))
    return story


@told("a second member confirms what the first proposed")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.endorse(note, agent("birch"))
    story.ends(note, "confirmed", "quorum")
    return story


@told("an author that does not count needs two others; a colleague's key is the same voter")
def _() -> Story:
    policy = make_policy("note/1", author_counts=False)
    story = Story(policy)
    note = story.note(waits=policy)
    story.endorse(note, agent("acme", 2))
    story.endorse(note, agent("birch"))
    story.endorse(note, agent("birch", 2))
    story.endorse(note, agent("cobalt"))
    story.ends(note, "confirmed", "quorum")
    return story


@told("where keys count, two keys of one member are two voters, and one key is one")
def _() -> Story:
    rule = out_of(2, by_member("birch"), by_key(agent("birch", 1)))
    policy = make_policy("note/1", rule=rule, count_by="key")
    story = Story(policy)
    note = story.note(waits=policy)
    story.endorse(note, agent("birch", 1))
    story.endorse(note, agent("birch", 2))
    story.ends(note, "confirmed", "quorum")
    return story


@told("a key without a member has no voice where members count")
def _() -> Story:
    policy = make_policy("note/1", rule=by_key(OPERATOR))
    story = Story(policy)
    note = story.note(waits=policy)
    story.endorse(note, OPERATOR)
    return story


@told("nested rules are counted one by one, roles by their holders")
def _() -> Story:
    rule = out_of(2, TWO_OF_THREE, {"rule": "role", "role": "auditor", "at_least": 1})
    policy = make_policy("note/1", rule=rule)
    members = [{"name": "acme"}, {"name": "birch"}, {"name": "cobalt", "roles": ["auditor"]}]
    story = Story(policy, members=members)
    note = story.note(waits=policy)
    story.endorse(note, agent("birch"))
    story.endorse(note, agent("cobalt"))
    story.ends(note, "confirmed", "quorum")
    return story


@told("a proposal that cannot be confirmed any more is rejected")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.endorse(note, agent("birch"), "reject")
    story.endorse(note, agent("cobalt"), "reject")
    story.ends(note, "rejected", "out-of-reach")
    return story


@told("who was removed is out of reach, which shows when somebody rejects")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.act("member/1", OPERATOR, {"action": "remove", "member": "birch"})
    story.endorse(note, agent("cobalt"), "reject")
    story.ends(note, "rejected", "out-of-reach")
    return story


@told("who is suspended may be resumed, and is within reach")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.act("member/1", OPERATOR, {"action": "suspend", "member": "birch"})
    story.endorse(note, agent("cobalt"), "reject")
    story.act("member/1", OPERATOR, {"action": "resume", "member": "birch"})
    story.endorse(note, agent("birch"))
    story.ends(note, "confirmed", "quorum")
    return story


@told("a veto rejects at once")
def _() -> Story:
    policy = make_policy("note/1", veto=by_member("birch"))
    story = Story(policy)
    note = story.note(waits=policy)
    story.endorse(note, agent("birch"), "reject")
    story.ends(note, "rejected", "veto")
    return story


@told("an author takes its proposal back")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.withdraw(note)
    story.ends(note, "withdrawn", "withdrawal")
    return story


@told("a colleague takes a proposal back where the policy lets the member")
def _() -> Story:
    policy = make_policy("note/1", withdrawn_by="member")
    story = Story(policy)
    note = story.note(waits=policy)
    story.withdraw(note, agent("acme", 2))
    story.ends(note, "withdrawn", "withdrawal")
    return story


@told("the last millisecond before the end is in time")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.now_ms += DAY_MS - 1
    story.endorse(note, agent("birch"))
    story.ends(note, "confirmed", "quorum")
    return story


@told("an endorsement at the very end is late, and makes the expiry due")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.now_ms += DAY_MS
    story.endorse(note, agent("birch"))
    story.ends(note, "expired", "time")
    return story


@told("the service ends what has expired, unasked; an endorsement after it is kept")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.now_ms += DAY_MS
    story.conclude(note, "expired", "time")
    story.endorse(note, agent("birch"))
    return story


# --- who has a voice -------------------------------------------------------------------


@told("agreement and refusal of one member are evidence; its first word counts")
def _() -> Story:
    policy = make_policy("note/1", rule={**TWO_OF_THREE, "at_least": 3})
    story = Story(policy)
    note = story.note(waits=policy)
    first = story.endorse(note, agent("birch", 1))
    second = story.endorse(note, agent("birch", 2), "reject")
    story.contradicts(first, second)
    story.endorse(note, agent("cobalt"))
    story.ends(note, "confirmed", "quorum")
    return story


@told("an author that rejects its own proposal contradicts it")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    story.contradicts(note, story.endorse(note, agent("acme"), "reject"))
    return story


@told("evidence comes before the outcome that the same entry makes due")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    first = story.endorse(note, agent("birch"), "reject")
    story.now_ms += DAY_MS
    second = story.endorse(note, agent("birch"))
    story.steps[-1]["due"] = [
        {
            "type": "equivocation/1",
            "body": {"kind": "endorsement", "first": first, "second": second},
        },
        {"type": "outcome/1", "body": story.outcome(note, "expired", "time")},
    ]
    for each in list(story.steps[-1]["due"]):
        story.act(each["type"], OPERATOR, each["body"])
    story.steps[-2] = {"due": [{"type": "outcome/1", "body": story.acts[-1]["body"]}]}
    return story


@told("a number given twice is evidence, each time against the first entry that has it")
def _() -> Story:
    story = Story()
    first = story.act("note/1", agent("acme"), numbered=("run", 7))
    story.act("note/1", agent("acme"), numbered=("run", 8))
    for _ in range(2):
        story.repeats(first, story.act("note/1", agent("acme"), numbered=("run", 7)))
    return story


@told("numbers of other streams and other keys contradict nothing; some types are not counted")
def _() -> Story:
    story = Story()
    story.act("note/1", agent("acme"), numbered=("run", 7))
    story.act("note/1", agent("birch"), numbered=("run", 7))
    story.act("note/1", agent("acme", 2), numbered=("run", 7))
    story.act("note/1", agent("acme"), numbered=("walk", 7))
    for number in (1, 2):
        lost = {"action": "revoke", "key": agent("acme", number), "reason": "lost"}
        story.act("key/1", steward("acme"), lost, numbered=("run", 7))
    return story


@told("evidence about a number comes before whatever else the same entry makes due")
def _() -> Story:
    story = Story(POLICY)
    first = story.act("note/1", agent("birch"), waits=POLICY, numbered=("run", 1))
    note = story.note()
    story.endorse(note, agent("birch", 2), "reject")
    story.now_ms += DAY_MS
    second = story.endorse(note, agent("birch"))
    story.acts[-1] |= {"stream": "run", "n": 1}
    due: list[dict[str, Any]] = [
        {"type": "equivocation/1", "body": {"kind": "stream", "first": first, "second": second}},
        {
            "type": "equivocation/1",
            "body": {"kind": "endorsement", "first": story.acts[3]["leaf_hash"], "second": second},
        },
        {"type": "outcome/1", "body": story.outcome(note, "expired", "time")},
    ]
    story.steps[-1]["due"] = due
    for each in due:
        story.act(each["type"], OPERATOR, each["body"])
    story.steps[-3:-1] = [{"due": due[1:]}, {"due": due[2:]}]
    return story


@told("a voice outlives its member's standing and its key")
def _() -> Story:
    policy = make_policy("note/1", rule={**TWO_OF_THREE, "at_least": 3})
    story = Story(policy)
    note = story.note(waits=policy)
    story.endorse(note, agent("birch"))
    story.act(
        "key/1", steward("birch"), {"action": "revoke", "key": agent("birch"), "reason": "lost"}
    )
    story.act("member/1", OPERATOR, {"action": "remove", "member": "birch"})
    story.endorse(note, agent("cobalt"))
    story.ends(note, "confirmed", "quorum")
    return story


@told("a key registered after the proposal has no voice in it")
def _() -> Story:
    policy = make_policy("note/1", rule=by_member("birch"))
    story = Story(policy)
    note = story.note(waits=policy)
    new = {"action": "register", "key": "ed25519:new", "roles": ["agent"], "possession": "…"}
    story.act("key/1", steward("birch"), {**new, "member": "birch"})
    story.endorse(note, "ed25519:new")
    story.endorse(note, agent("birch"))
    story.ends(note, "confirmed", "quorum")
    return story


@told("a role granted after the proposal does not count in it")
def _() -> Story:
    policy = make_policy("note/1", rule={"rule": "role", "role": "auditor", "at_least": 1})
    story = Story(policy)
    note = story.note(waits=policy)
    story.act("member/1", OPERATOR, {"action": "grant", "member": "birch", "role": "auditor"})
    story.endorse(note, agent("birch"))
    later = story.note(waits=policy)
    story.endorse(later, agent("birch"))
    story.ends(later, "confirmed", "quorum")
    return story


@told("a successor goes on where its key ended")
def _() -> Story:
    story = Story(POLICY)
    rotation = {"key": "ed25519:next", "possession": "…"}
    story.act("key.rotation/1", agent("acme"), rotation)
    note = story.note("ed25519:next")
    story.endorse(note, agent("birch"))
    story.ends(note, "confirmed", "quorum")
    return story


# --- changing who may -------------------------------------------------------------------


@told("a policy is changed under the one in force; open proposals keep theirs")
def _() -> Story:
    story = Story(POLICY)
    note = story.note()
    change = story.act("policy/1", OPERATOR, {"action": "set", "policy": WEAK}, waits=POLICY)
    story.endorse(change, agent("acme"))
    story.endorse(change, agent("birch"))
    story.ends(change, "confirmed", "quorum")
    later = story.note(agent("birch"), waits=WEAK)
    story.endorse(later, agent("acme"))
    story.ends(later, "confirmed", "quorum")
    story.endorse(note, agent("birch"))
    story.ends(note, "confirmed", "quorum")
    return story


@told("a policy is not changed under one that is in force no more")
def _() -> Story:
    story = Story(POLICY)
    changes = [
        story.act("policy/1", OPERATOR, {"action": "set", "policy": each}, waits=POLICY)
        for each in (STRICT, WEAK)
    ]
    verdicts = ("confirmed", "quorum"), ("rejected", "inapplicable")
    for change, verdict in zip(changes, verdicts, strict=True):
        story.endorse(change, agent("acme"))
        story.endorse(change, agent("birch"))
        story.ends(change, *verdict)
    return story


@told("a lifted policy leaves its types to take effect at once")
def _() -> Story:
    story = Story(POLICY)
    lift = {"action": "lift", "governs": ["note/1"]}
    change = story.act("policy/1", OPERATOR, lift, waits=POLICY)
    story.endorse(change, agent("birch"))
    story.endorse(change, agent("cobalt"))
    story.ends(change, "confirmed", "quorum")
    story.act("note/1", agent("acme"))
    return story


@told("a consortium removes a member by its quorum, once")
def _() -> Story:
    story = Story(QUORUM, kind="consortium")
    removal = {"action": "remove", "member": "cobalt"}
    first = story.act("member/1", steward("acme"), removal, waits=QUORUM)
    second = story.act("member/1", steward("acme"), removal, waits=QUORUM)
    story.endorse(first, steward("birch"))
    story.ends(first, "confirmed", "quorum")
    story.endorse(second, steward("birch"))
    story.ends(second, "rejected", "inapplicable")
    return story


# --- bundles ------------------------------------------------------------------------------


@told("a bundle is confirmed with one outcome, under all its policies")
def _() -> Story:
    story = Story(POLICY, ACTIONS)
    note = story.note()
    action = story.act("agent.action/1", agent("acme"), ACTION, waits=ACTIONS)
    bundle = story.bundle(note, action)
    story.endorse(bundle, agent("birch"))
    story.endorse(bundle, agent("cobalt"))
    story.ends(bundle, "confirmed", "quorum")
    return story


@told("a bundle begins anew: what was said of its proposals before does not count")
def _() -> Story:
    policy = {**STRICT, "name": "all"}
    story = Story(policy)
    notes = [story.note(waits=policy) for _ in range(2)]
    story.endorse(notes[0], agent("birch"))
    bundle = story.bundle(*notes)
    story.endorse(bundle, agent("cobalt"))
    story.endorse(bundle, agent("birch"))
    story.ends(bundle, "confirmed", "quorum")
    return story


@told("a bundle expires with the first of its proposals")
def _() -> Story:
    story = Story(POLICY, ACTIONS)
    note = story.note()
    action = story.act("agent.action/1", agent("acme"), ACTION, waits=ACTIONS)
    bundle = story.bundle(note, action)
    story.now_ms += 60_000
    story.conclude(bundle, "expired", "time")
    return story


# --- ledgers ------------------------------------------------------------------------------


@told("a party closes a local ledger")
def _() -> Story:
    story = local_ledger()
    story.act("closing/1", agent("acme"))
    return story


@told("the log's key hands over")
def _() -> Story:
    story = Story()
    story.act("log.key/1", OPERATOR, {"old": "log", "new": "next", "by_old": "…", "by_new": "…"})
    return story


# --- cases -----------------------------------------------------------------------------


def _policies() -> list[Case]:
    spelled = {**POLICY, "withdrawn_by": "author", "veto": None}
    nested = {**NESTED_POLICY, "veto": {**NESTED_POLICY["veto"], "at_least": 1}}
    one, two = hash_policy(POLICY), hash_policy(nested)
    return [
        accept("policy's hash", "hash_policy", {"policy": POLICY}, one),
        accept("policy's hash, defaults spelled out", "hash_policy", {"policy": spelled}, one),
        accept("policy's hash, nested, with a veto", "hash_policy", {"policy": NESTED_POLICY}, two),
        accept(
            "several policies' hash, whatever their order",
            "hash_policies",
            {"policies": [two, one]},
            hash_policies(one, two),
        ),
        accept("one policy's hash among one", "hash_policies", {"policies": [one]}, one),
    ]


def cases() -> list[Case]:
    stories = [(name, telling()) for name, telling in TOLD.items()]
    refusals = [(name, telling()) for name, telling in REFUSED.items()]
    return [
        *_policies(),
        *(accept(name, "assemble", {"acts": each.acts}, each.steps) for name, each in stories),
        *(
            refuse(name, "assemble", {"acts": each.acts}, CODES.get(name, "no-standing"))
            for name, each in refusals
        ),
    ]
