"""A second judge of changes, naive on purpose: it rescans the whole log for every question.

Written from the words of docs/spec/changes.md, without the code that is to be judged. Who
stands, which policy is in force and how proposals end it asks recount.py, the second judge
of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger_core import clock
from ledger_core.policy.act import Act
from ledger_core.records.types.charter import Charter
from ledger_core.records.types.equivocation import Equivocation
from ledger_core.records.types.erasure import Erasure
from ledger_core.records.types.erasure_done import ErasureDone
from ledger_core.records.types.hold import Hold
from ledger_core.records.types.mutability import MutabilityChange
from ledger_core.records.types.outcome import Outcome
from ledger_core.records.types.policy import LiftPolicy, SetPolicy
from ledger_core.records.types.redaction import Redact, Unredact
from ledger_core.records.types.retention import Retention
from ledger_core.records.types.rollback import Rollback
from tests.ledger_core.policy import recount
from tests.ledger_core.policy.recount import Acts, body_of, find, name

EVER = 2**53
CHANGES = (Rollback, Redact, Unredact, Hold, Erasure)


@dataclass(frozen=True)
class Done:
    """A change that took effect at an index."""

    at: int
    act: Act


def is_change(act: Act) -> bool:
    return act.amends is not None or isinstance(body_of(act), CHANGES)


def what_took_effect(acts: Acts) -> list[Done]:
    """Return all changes of earlier entries that took effect, in their order."""
    done: list[Done] = []
    for act in acts:
        body = body_of(act)
        if isinstance(body, Outcome) and body.verdict == "confirmed":
            parts = recount.parts_of(acts, body.proposal)
            done += [Done(act.index, part) for part in parts if is_change(part)]
        elif is_change(act) and recount.policy_of(acts, act) is None:
            done.append(Done(act.index, act))
    return done


def since(acts: Acts, act: Act) -> int:
    """Say where an entry took effect; never, if it waits or was not confirmed."""
    if not recount.is_proposal(acts, act):
        return act.index
    outcomes = recount.outcomes_of(acts, act)
    is_confirmed = bool(outcomes) and body_of(outcomes[0]).verdict == "confirmed"
    return outcomes[0].index if is_confirmed else EVER


def original_of(acts: Acts, act: Act) -> Act:
    return act if act.amends is None else original_of(acts, find(acts, act.amends))


def targets_of(acts: Acts, act: Act) -> list[Act]:
    if act.amends is not None:
        return [original_of(acts, act)]
    named = [each if isinstance(each, str) else each.entry for each in body_of(act).targets]
    return [find(acts, each) for each in named]


# --- what holds of an entry ------------------------------------------------------------------


def version_at(acts: Acts, done: Sequence[Done], entry: Act, index: int) -> str | None:
    """Return the version of an original that counts, by what took effect before an index."""
    for each in reversed(done):
        if each.at >= index:
            continue
        if each.act.amends is not None and original_of(acts, each.act) == entry:
            return name(each.act.leaf_hash)
        body = body_of(each.act)
        if isinstance(body, Rollback) and name(entry.leaf_hash) in body.targets:
            return version_at(acts, done, entry, body.to)
    return name(entry.leaf_hash) if since(acts, entry) < index else None


def parts_named(act: Act, entry: Act) -> Iterable[str]:
    for each in body_of(act).targets:
        if each.entry == name(entry.leaf_hash):
            yield from each.parts


def hidden_at(done: Iterable[Done], entry: Act, index: int) -> dict[str, tuple[set[str], bytes]]:
    """Return the hidden parts, each with who sees it all the same, and by which entry."""
    hidden: dict[str, tuple[set[str], bytes]] = {}
    for each in done:
        body = body_of(each.act)
        if each.at >= index or not isinstance(body, Redact | Unredact):
            continue
        for part in parts_named(each.act, entry):
            if isinstance(body, Unredact):
                del hidden[part]
            elif part not in hidden or hidden[part][0] != set(body.visible_to):
                hidden[part] = set(body.visible_to), each.act.leaf_hash
    return hidden


def cases_at(done: Iterable[Done], entry: Act, index: int) -> set[str]:
    cases: set[str] = set()
    for each in done:
        body = body_of(each.act)
        if each.at < index and isinstance(body, Hold) and name(entry.leaf_hash) in body.targets:
            cases = cases | {body.case} if body.action == "hold" else cases - {body.case}
    return cases


def erased_at(done: Iterable[Done], entry: Act, index: int) -> dict[str, bytes]:
    erased: dict[str, bytes] = {}
    for each in done:
        if each.at < index and isinstance(body_of(each.act), Erasure):
            for part in parts_named(each.act, entry):
                erased[part] = each.act.leaf_hash
    return erased


def retired_at(acts: Acts, done: Sequence[Done], entry: Act, index: int) -> dict[str, int]:
    """Return the parts that the schedule reached, each with the index of its first order."""
    retired: dict[str, int] = {}
    for order in acts[entry.index + 1 : index]:
        body = body_of(order)
        if not isinstance(body, Retention) or body.type != entry.kind.name:
            continue
        is_old = entry.received_at < clock.parse_time(body.received_before)
        if is_old and body.part in entry.parts and not cases_at(done, entry, order.index):
            retired.setdefault(body.part, order.index)
    return retired


def ordered_at(done: Iterable[Done], order: Act) -> int | None:
    if isinstance(body_of(order), Retention):
        return order.index
    is_order = isinstance(body_of(order), Erasure)
    return next((each.at for each in done if is_order and each.act == order), None)


def done_at(acts: Acts, order: Act) -> int | None:
    for act in acts:
        body = body_of(act)
        if isinstance(body, ErasureDone) and body.order == name(order.leaf_hash):
            return act.index
    return None


# --- may it be asked for ------------------------------------------------------------------------


def refusal(acts: Acts, act: Act) -> str | None:
    """Say with which code the next entry is refused; None if it may be."""
    settled = recount.effects(acts)
    roles = roles_of(acts, act.author)
    if not recount.stands(settled, act.author, act.index) or not roles & act.kind.writers:
        return "no-standing"
    match body_of(act):
        case SetPolicy() | LiftPolicy() as change:
            return None if may_govern(acts, act, change) else "no-standing"
        case MutabilityChange() as change:
            return None if may_set(acts, act, change) else "no-standing"
        case Retention() as order:
            return None if is_due(acts, order, act) else "no-standing"
        case ErasureDone() as told:
            return refusal_of_done(acts, told)
    return refusal_of_change(acts, act) if is_change(act) else None


def refusal_of_change(acts: Acts, act: Act) -> str | None:
    named = [act.amends] if act.amends is not None else named_by(act)
    if not {name(each.leaf_hash) for each in acts}.issuperset(named):
        return "bad-reference"
    targets = targets_of(acts, act)
    if act.amends is not None and targets[0].kind != act.kind:
        return "no-standing"
    settled = recount.effects(acts)
    kind = "amends" if act.amends is not None else act.kind.name
    policies = [recount.over_change(settled, kind, target.kind.name) for target in targets]
    if any(policy != policies[0] for policy in policies):
        return "no-standing"
    if not all(may_ask(acts, act, target, policies[0] is None) for target in targets):
        return "no-standing"
    return impossible(acts, what_took_effect(acts), act, act.index)


def named_by(act: Act) -> list[str]:
    return [each if isinstance(each, str) else each.entry for each in body_of(act).targets]


def roles_of(acts: Acts, key: str) -> set[str]:
    charter: Charter = body_of(acts[0])
    return next(({*each.roles} for each in charter.keys if each.key == key), set())


def member_of(acts: Acts, key: str) -> str | None:
    charter: Charter = body_of(acts[0])
    return next((each.member for each in charter.keys if each.key == key), None)


def who_may(acts: Acts, act: Act, target: Act, index: int) -> Sequence[str]:
    """Return those whom the setting in force names for this change; nobody of governance."""
    if target.kind.is_governance:
        return ()
    setting = recount.setting_of(recount.effects(acts), target.kind.name, index)
    by_kind = {
        "rollback/1": setting.roll_back,
        "redaction/1": setting.redact,
        "hold/1": setting.hold,
        "erasure/1": setting.erase,
    }
    return setting.amend if act.amends is not None else by_kind[act.kind.name]


def may_ask(acts: Acts, act: Act, target: Act, is_alone: bool) -> bool:
    member = member_of(acts, act.author)
    is_own = act.author == target.author or (
        member is not None and member == member_of(acts, target.author)
    )
    is_named = False
    for who in who_may(acts, act, target, act.index):
        if who == "author":
            is_named |= act.author == target.author
        elif who == "member":
            is_named |= is_own
        elif who.startswith("role:"):
            roles = recount.roles_at(recount.effects(acts), member, act.index)
            is_named |= who.removeprefix("role:") in roles
        else:
            is_named |= who in roles_of(acts, act.author)
    is_trusted = body_of(acts[0]).kind in ("public", "private")
    return is_named and (is_own or is_trusted or not is_alone)


def impossible(acts: Acts, done: Sequence[Done], act: Act, at: int) -> str | None:
    """Say why a change cannot be made after those that took effect; None if it can."""
    targets, body = targets_of(acts, act), body_of(act)
    if act.amends is not None:
        (entry,) = targets
        current = version_at(acts, done, entry, EVER) or name(entry.leaf_hash)
        if act.amends != current:
            return "head-moved"
        return None if since(acts, entry) < EVER else "no-standing"
    match body:
        case Rollback():
            is_possible = body.to < at and can_roll_back(acts, done, act, targets)
        case Hold():
            is_possible = can_hold(done, act, targets)
        case Erasure():
            is_possible = can_erase(done, act, targets)
        case Redact():
            is_possible = can_hide(done, act, targets)
        case _:
            is_possible = can_show(done, act, targets)
    return None if is_possible else "no-standing"


def can_roll_back(acts: Acts, done: Sequence[Done], act: Act, targets: list[Act]) -> bool:
    to = body_of(act).to
    return all(each.amends is None for each in targets) and any(
        version_at(acts, done, each, to) != version_at(acts, done, each, EVER) for each in targets
    )


def can_hold(done: Sequence[Done], act: Act, targets: list[Act]) -> bool:
    body = body_of(act)
    return all(
        (body.case in cases_at(done, each, EVER)) == (body.action == "release") for each in targets
    )


def can_erase(done: Sequence[Done], act: Act, targets: list[Act]) -> bool:
    return not any(
        cases_at(done, each, EVER) or part not in each.parts or part in erased_at(done, each, EVER)
        for each in targets
        for part in parts_named(act, each)
    )


def can_hide(done: Sequence[Done], act: Act, targets: list[Act]) -> bool:
    roles, is_news = set(body_of(act).visible_to), False
    for each in targets:
        hidden = hidden_at(done, each, EVER)
        for part in parts_named(act, each):
            if part not in each.parts:
                return False
            is_news |= part not in hidden or hidden[part][0] != roles
    return is_news


def can_show(done: Sequence[Done], act: Act, targets: list[Act]) -> bool:
    return all(
        part in hidden_at(done, each, EVER) for each in targets for part in parts_named(act, each)
    )


def may_govern(acts: Acts, act: Act, change: SetPolicy | LiftPolicy) -> bool:
    settled = recount.effects(acts)
    asked = recount.asked_for(settled, change)
    if any(each != asked[0] for each in asked) or not recount.can(settled, change):
        return False
    is_alone = asked[0] is None
    is_trusted = body_of(acts[0]).kind == "private" and "operator" in roles_of(acts, act.author)
    return is_trusted or not is_alone


def may_set(acts: Acts, act: Act, change: MutabilityChange) -> bool:
    settled = recount.effects(acts)
    if not recount.can(settled, change):
        return False
    if recount.policy_over(settled, act) is not None:
        return True
    return body_of(acts[0]).kind == "private" and "operator" in roles_of(acts, act.author)


def is_due(acts: Acts, order: Retention, act: Act) -> bool:
    setting = recount.setting_of(recount.effects(acts), order.type, act.index)
    before = clock.parse_time(order.received_before)
    earlier = [body_of(each) for each in acts if isinstance(body_of(each), Retention)]
    reached = [
        clock.parse_time(each.received_before)
        for each in earlier
        if (each.type, each.part) == (order.type, order.part)
    ]
    is_governance = not order.type.startswith(("note", "agent"))
    keep_s = setting.keep_s.get(order.part)
    if is_governance or keep_s is None or any(each >= before for each in reached):
        return False
    return before <= act.received_at - keep_s * 1000


def refusal_of_done(acts: Acts, told: ErasureDone) -> str | None:
    orders = [act for act in acts if name(act.leaf_hash) == told.order]
    if not orders:
        return "bad-reference"
    is_ordered = ordered_at(what_took_effect(acts), orders[0]) is not None
    return None if is_ordered and done_at(acts, orders[0]) is None else "no-standing"


# --- how proposals end ------------------------------------------------------------------------


def judge(acts: Acts, proposal: Act, now_ms: int) -> tuple[str, str] | None:
    verdict = recount.judge(acts, proposal, len(acts), now_ms)
    if verdict == ("confirmed", "quorum") and not can_all(acts, proposal):
        return "rejected", "inapplicable"
    return verdict


def can_all(acts: Acts, proposal: Act) -> bool:
    """Say whether all changes in a proposal can be made, one after the other."""
    done, at = what_took_effect(acts), len(acts) - 1
    for part in recount.parts_of(acts, name(proposal.leaf_hash)):
        if not is_change(part):
            continue
        is_open = all(who_may(acts, part, each, at) for each in targets_of(acts, part))
        if not is_open or impossible(acts, done, part, at):
            return False
        done.append(Done(at, part))
    return True


def due_behind(acts: Acts) -> list[Equivocation | Outcome]:
    """Return what must follow the last entry."""
    due = recount.due_behind(acts)
    for place, each in enumerate(due):
        if isinstance(each, Outcome) and each.verdict == "confirmed":
            proposal = find(acts, each.proposal)
            if not can_all(acts, proposal):
                due[place] = recount.outcome(acts, proposal, "rejected", "inapplicable")
    return due
