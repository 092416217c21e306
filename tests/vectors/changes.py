"""Vectors of changes (docs/spec/changes.md): histories, and what holds of entries when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.vectors.build import Case, accept, refuse
from tests.vectors.governance_types import POLICY
from tests.vectors.story import (
    DAY_MS,
    OPERATOR,
    QUORUM,
    Body,
    Story,
    agent,
    by_member,
    digest,
    make_policy,
    show_time,
)

ABOUT = "Changes of earlier entries: histories, and what holds of entries at chosen indexes"
PAGE = "changes.md"

AUTHOR, COLLEAGUE, OTHER = agent("acme"), agent("acme", 2), agent("birch")
ALL: Body = {
    "type": "note/1",
    "amend": ["author"],
    "roll_back": ["author"],
    "redact": ["author", "operator"],
    "erase": ["author", "operator"],
    "hold": ["operator", "role:auditor"],
    "keep_s": {"body": 86_400},
}
TOLD: dict[str, Callable[[], Altered]] = {}
REFUSED: dict[str, tuple[str, Callable[[], Altered]]] = {}


class Altered(Story):
    """A ledger whose notes may be changed, and questions about them."""

    def __init__(self, *policies: Body, **charter: Any) -> None:
        super().__init__(*policies, **({"mutability": [ALL]} | charter))
        self.ask: list[Body] = []
        self.effects: list[Body] = []

    def write(self, author: str = AUTHOR, amends: str | None = None, **more: Any) -> str:
        leaf_hash = self.act("note/1", author, **more)
        if amends is not None:
            self.acts[-1]["amends"] = amends
        return leaf_hash

    def roll_back(self, *targets: str, to: int, **more: Any) -> str:
        return self.act("rollback/1", AUTHOR, {"targets": list(targets), "to": to}, **more)

    def redact(self, target: str, *roles: str, author: str = AUTHOR) -> str:
        body = {"action": "redact", "targets": named(target), "visible_to": list(roles)}
        return self.act("redaction/1", author, body)

    def show_again(self, target: str) -> str:
        return self.act("redaction/1", AUTHOR, {"action": "unredact", "targets": named(target)})

    def hold(self, *targets: str, action: str = "hold", case: str = "case-1", **more: Any) -> str:
        body = {"action": action, "targets": list(targets), "case": case}
        return self.act("hold/1", OPERATOR, body, **more)

    def erase(self, target: str, part: str = "body", author: str = AUTHOR, **more: Any) -> str:
        body = {"targets": named(target, part), "reason": "request"}
        return self.act("erasure/1", author, body, **more)

    def retire(self, before_ms: int, kind: str = "note/1") -> str:
        body = {"type": kind, "part": "body", "received_before": show_time(before_ms)}
        return self.act("retention/1", OPERATOR, body)

    def done(self, order: str) -> str:
        body = {"order": order, "parts": 1, "stores": ["database"]}
        return self.act("erasure.done/1", OPERATOR, body)

    def set(self, **setting: Any) -> str:
        return self.act("mutability/1", OPERATOR, {"setting": {"type": "note/1", **setting}})

    def holds(self, entry: str, version: str | None, at: int | None = None, **more: Any) -> None:
        """Say what holds of an original entry; now, unless said."""
        self.ask.append({"entry": entry, "at": len(self.acts) if at is None else at})
        self.effects.append({"version": version, **more})


def named(target: str, part: str = "body") -> list[Body]:
    return [{"entry": target, "parts": [part]}]


def told(name: str) -> Callable[[Callable[[], Altered]], Callable[[], Altered]]:
    return lambda telling: TOLD.setdefault(name, telling)


def refused(
    name: str, code: str = "no-standing"
) -> Callable[[Callable[[], Altered]], Callable[[], Altered]]:
    return lambda telling: REFUSED.setdefault(name, (code, telling))[1]


# --- versions ----------------------------------------------------------------------------


@told("an amendment, a rollback, and the rollback of it")
def _() -> Altered:
    story = Altered()
    first = story.write()
    second = story.write(amends=first)
    story.roll_back(first, to=2)
    story.holds(first, first)
    story.roll_back(first, to=3)
    story.holds(first, second)
    story.holds(first, None, at=1)
    story.holds(first, first, at=2)
    story.holds(first, second, at=3)
    story.holds(first, first, at=4)
    return story


@told("an amendment of an amendment")
def _() -> Altered:
    story = Altered()
    first = story.write()
    third = story.write(amends=story.write(amends=first))
    story.holds(first, third)
    story.ask.append({"entry": third, "at": 4})
    story.effects.append({"amends": first})
    return story


@told("rolled back to before it was there, an entry counts no more until its first is amended")
def _() -> Altered:
    story = Altered()
    first = story.write()
    story.write(amends=first)
    story.roll_back(first, to=1)
    story.holds(first, None)
    third = story.write(amends=first)
    story.holds(first, third)
    return story


@told("a rollback of several moves those that stood otherwise")
def _() -> Altered:
    story = Altered()
    first, other = story.write(), story.write()
    story.write(amends=first)
    story.roll_back(first, other, to=3)
    story.holds(first, first)
    story.holds(other, other)
    return story


# --- hiding, holding, erasing ------------------------------------------------------------


@told("a part hidden from all but a role, from everyone, and shown again")
def _() -> Altered:
    story = Altered()
    note = story.write()
    by = story.redact(note, "auditor")
    story.holds(note, note, redacted={"body": {"by": by, "visible_to": ["auditor"]}})
    by = story.redact(note)
    story.holds(note, note, redacted={"body": {"by": by, "visible_to": []}})
    story.show_again(note)
    story.holds(note, note)
    return story


@told("two cases hold an entry; released from both it is erased, and that is done once")
def _() -> Altered:
    story = Altered()
    note = story.write()
    story.hold(note, case="b")
    story.hold(note, case="a")
    story.holds(note, note, held_by=["a", "b"])
    story.hold(note, action="release", case="b")
    story.hold(note, action="release", case="a")
    order = story.erase(note)
    story.done(order)
    story.holds(note, note, erased={"body": order})
    return story


@told("an erased version goes on counting")
def _() -> Altered:
    story = Altered()
    first = story.write()
    second = story.write(amends=first)
    order = story.erase(first)
    story.holds(first, second, erased={"body": order})
    return story


@told("the schedule reaches what is due and not held, by the log's own times")
def _() -> Altered:
    story = Altered()
    old, held = story.write(), story.write()
    story.hold(held)
    begin = story.now_ms
    story.now_ms += DAY_MS + 1
    young = story.write()
    story.retire(begin + 1)
    story.holds(old, old, retired={"body": 5})
    story.holds(held, held, held_by=["case-1"])
    story.holds(young, young)
    story.holds(old, old, at=5)
    story.hold(held, action="release")
    story.now_ms += 1
    story.retire(begin + 2)
    story.holds(held, held, retired={"body": 7})
    story.holds(old, old, retired={"body": 5})
    return story


# --- agreement ---------------------------------------------------------------------------


@told("a change waits under the policy of its topic, and takes effect at the outcome")
def _() -> Altered:
    policy = make_policy("erasure/1:note/1")
    story = Altered(policy)
    note = story.write()
    order = story.erase(note, waits=policy)
    story.holds(note, note)
    story.endorse(order, OTHER)
    story.ends(order, "confirmed", "quorum")
    story.holds(note, note, at=4)
    story.holds(note, note, erased={"body": order})
    return story


@told("an amendment of a governed type waits like a record of it, unless amendments have a policy")
def _() -> Altered:
    policy = make_policy("amends", rule=by_member("acme"))
    story = Altered(POLICY, policy)
    note = story.write(waits=POLICY)
    story.endorse(note, OTHER)
    story.ends(note, "confirmed", "quorum")
    story.holds(note, note)
    second = story.write(amends=note, waits=policy)
    story.ends(second, "confirmed", "quorum")
    story.holds(note, second)
    return story


@told("of two amendments of one version the second is inapplicable")
def _() -> Altered:
    policy = make_policy("amends:note/1")
    story = Altered(policy)
    note = story.write()
    two = [story.write(amends=note, waits=policy) for _ in range(2)]
    for each, verdict in zip(
        two, [("confirmed", "quorum"), ("rejected", "inapplicable")], strict=True
    ):
        story.endorse(each, OTHER)
        story.ends(each, *verdict)
    story.holds(note, two[0])
    return story


@told("what has become immutable is not changed by what was agreed to before")
def _() -> Altered:
    policy = make_policy("erasure/1")
    story = Altered(policy)
    note = story.write()
    order = story.erase(note, waits=policy)
    story.set()
    story.endorse(order, OTHER)
    story.ends(order, "rejected", "inapplicable")
    story.holds(note, note)
    return story


@told("a rejected change changes nothing")
def _() -> Altered:
    policy = make_policy("rollback/1")
    story = Altered(policy)
    note = story.write()
    second = story.write(amends=note)
    back = story.roll_back(note, to=2, waits=policy)
    story.endorse(back, OTHER, "reject")
    story.endorse(back, agent("cobalt"), "reject")
    story.ends(back, "rejected", "out-of-reach")
    story.holds(note, second)
    return story


@told("a bundle releases and then erases")
def _() -> Altered:
    policy = make_policy("hold/1", "erasure/1", author_counts=False)
    story = Altered(policy, mutability=[{**ALL, "hold": ["author"]}])
    note = story.write()
    order = story.erase(note, waits=policy)
    body = {"action": "hold", "targets": [note], "case": "case-1"}
    held = story.act("hold/1", AUTHOR, body, waits=policy)
    for each in ("birch", "cobalt"):
        story.endorse(held, agent(each))
    story.ends(held, "confirmed", "quorum")
    release = story.act("hold/1", AUTHOR, {**body, "action": "release"}, waits=policy)
    bundle = story.bundle(release, order)
    for each in ("birch", "cobalt"):
        story.endorse(bundle, agent(each))
    story.ends(bundle, "confirmed", "quorum")
    story.holds(note, note, at=len(story.acts) - 1, held_by=["case-1"])
    story.holds(note, note, erased={"body": order})
    return story


@told("where members do not trust each other an author's member changes what is its own")
def _() -> Altered:
    story = Altered(QUORUM, kind="consortium", mutability=[{**ALL, "erase": ["member"]}])
    note = story.write()
    order = story.erase(note, author=COLLEAGUE)
    story.holds(note, note, erased={"body": order})
    return story


# --- refused ------------------------------------------------------------------------------


@refused("a change where nothing is set: everything is immutable")
def _() -> Altered:
    story = Altered(mutability=[])
    story.erase(story.write())
    return story


@refused("a change by somebody whom the setting does not name")
def _() -> Altered:
    story = Altered()
    story.erase(story.write(), author=COLLEAGUE)
    return story


@refused("a change of another's entry without a policy in a consortium")
def _() -> Altered:
    story = Altered(QUORUM, kind="consortium")
    story.erase(story.write(), author=OPERATOR)
    return story


@refused("an erasure of governance")
def _() -> Altered:
    story = Altered(mutability=[{**ALL, "type": "*"}])
    story.erase(story.acts[0]["leaf_hash"], author=OPERATOR)
    return story


@refused("a schedule for governance")
def _() -> Altered:
    story = Altered(mutability=[{**ALL, "type": "*"}])
    story.now_ms += 2 * DAY_MS
    story.retire(story.now_ms - DAY_MS, "charter/1")
    return story


@refused("an erasure of what is held")
def _() -> Altered:
    story = Altered()
    note = story.write()
    story.hold(note)
    story.erase(note)
    return story


@refused("an erasure of what is erased")
def _() -> Altered:
    story = Altered()
    note = story.write()
    story.erase(note)
    story.erase(note)
    return story


@refused("an erasure of a part that is not there")
def _() -> Altered:
    story = Altered()
    story.erase(story.write(), "sound")
    return story


@refused("a hold of an entry that is not there", "bad-reference")
def _() -> Altered:
    story = Altered()
    story.hold(digest(b"nowhere"))
    return story


@refused("a release of what is not held")
def _() -> Altered:
    story = Altered()
    story.hold(story.write(), action="release")
    return story


@refused("a redaction that changes nothing")
def _() -> Altered:
    story = Altered()
    note = story.write()
    story.redact(note)
    story.redact(note)
    return story


@refused("an amendment of a version that is not current", "head-moved")
def _() -> Altered:
    story = Altered()
    first = story.write()
    story.write(amends=first)
    story.write(amends=first)
    return story


@refused("an amendment of another type")
def _() -> Altered:
    story = Altered(mutability=[{**ALL, "type": "*"}])
    first = story.act("agent.action/1", AUTHOR, {"action": "pay", "status": "succeeded"})
    story.write(amends=first)
    return story


@refused("an amendment of what has not taken effect")
def _() -> Altered:
    story = Altered(POLICY)
    story.write(amends=story.write(waits=POLICY))
    return story


@refused("a rollback of an amendment")
def _() -> Altered:
    story = Altered()
    story.roll_back(story.write(amends=story.write()), to=2)
    return story


@refused("a rollback into the future")
def _() -> Altered:
    story = Altered()
    story.roll_back(story.write(), to=2)
    return story


@refused("a rollback that changes nothing")
def _() -> Altered:
    story = Altered()
    first = story.write()
    story.write()
    story.roll_back(first, to=2)
    return story


@refused("entries under different policies in one change")
def _() -> Altered:
    story = Altered(make_policy("hold/1:agent.action/1"), mutability=[{**ALL, "type": "*"}])
    action = story.act("agent.action/1", AUTHOR, {"action": "pay", "status": "succeeded"})
    story.hold(action, story.write())
    return story


@refused("a schedule that is not due")
def _() -> Altered:
    story = Altered()
    story.write()
    story.now_ms += DAY_MS
    story.retire(story.now_ms - DAY_MS + 1)
    return story


@refused("a schedule that an earlier order reached")
def _() -> Altered:
    story = Altered()
    story.now_ms += DAY_MS
    story.retire(story.now_ms - DAY_MS)
    story.retire(story.now_ms - DAY_MS)
    return story


@refused("an order done twice")
def _() -> Altered:
    story = Altered()
    order = story.erase(story.write())
    story.done(order)
    story.done(order)
    return story


@refused("what was set for ever, set again")
def _() -> Altered:
    story = Altered(mutability=[{**ALL, "for_ever": True}])
    story.set(erase=["operator"])
    return story


@refused("a policy over amendments that would take over from that of notes")
def _() -> Altered:
    story = Altered(POLICY)
    weak = make_policy("amends", rule=by_member("acme"))
    story.act("policy/1", OPERATOR, {"action": "set", "policy": weak})
    return story


# --- cases -----------------------------------------------------------------------------


def cases() -> list[Case]:
    stories = [(name, telling()) for name, telling in TOLD.items()]
    refusals = [(name, code, telling()) for name, (code, telling) in REFUSED.items()]
    return [
        *(
            accept(name, "effects", {"acts": each.acts, "ask": each.ask}, each.effects)
            for name, each in stories
        ),
        *(
            refuse(name, "effects", {"acts": each.acts, "ask": []}, code)
            for name, code, each in refusals
        ),
    ]
