"""Erases what is about one subject, and certifies it.

What an entry is about its record type says. Each ledger has its own rules: what may not be
erased there, by its mutability or because a case holds it, is named and stays; what others have
to agree to waits for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ledger_core import clock, ids, limits
from ledger_core.erased import NOW
from ledger_core.errors import NotFoundError, StandingError, StorageError
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import parse_record
from ledger_core.ledger import Ledger
from ledger_core.policy import changes
from ledger_core.policy.certificate import FORMAT, Certificate, Erased, Shown, show
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect
from ledger_core.policy.visibility import OPERATOR
from ledger_core.records.rules import hash_policy
from ledger_core.records.targets import Parts
from ledger_core.records.types.erasure import ERASURE_1, Erasure

_SEARCHABLE_S = 30.0


class Order(msgspec.Struct, frozen=True):
    """An order that was given: in force at once, or ``waits`` for others to agree."""

    index: int
    leaf_hash: str
    entries: int
    waits: bool


class Spared(msgspec.Struct, frozen=True):
    """An entry about the subject that may not be erased, and why."""

    index: int
    reason: str


class Outcome(msgspec.Struct, frozen=True):
    """What was ordered in one ledger, and what was not."""

    ledger: str
    orders: list[Order]
    spared: list[Spared]


class _Found(msgspec.Struct, frozen=True):
    effect: Effect
    parts: Parts


def erase_subject(ledger: Ledger, subject: str) -> Outcome:
    """Order all parts of the entries about a subject to be erased, as far as that may be."""
    constitution, index = ledger.constitution(), ledger.size()
    spared: list[Spared] = []
    groups: dict[bytes | None, list[Parts]] = {}
    for found in _find(ledger, subject):
        try:
            policy = _check(constitution, ledger.operator, found, index)
        except StandingError as error:
            spared.append(Spared(found.effect.index, str(error)))
        else:
            groups.setdefault(policy, []).append(found.parts)
    orders = [
        _order(ledger, targets[at : at + limits.CHANGE_TARGETS], waits=policy is not None)
        for policy, targets in groups.items()
        for at in range(0, len(targets), limits.CHANGE_TARGETS)
    ]
    return Outcome(ledger.name, orders, spared)


def _find(ledger: Ledger, subject: str) -> Iterator[_Found]:
    size = ledger.size()
    if ledger.wait_until_searchable(size, _SEARCHABLE_S) < size:
        raise StorageError("the views are behind: not everything can be found yet")
    after: int | None = None
    while True:
        page = ledger.search_subject(subject, OPERATOR, after=after, limit=limits.PAGE_ITEMS)
        yield from _describe(ledger, page.indexes)
        after = page.next
        if after is None:
            return


def _describe(ledger: Ledger, indexes: Sequence[int]) -> Iterator[_Found]:
    changed = ledger.effects(indexes)
    for entry in ledger.entries(indexes, with_payload=False):
        record = parse_record(parse_entry(entry.leaf).record)
        effect = changed.get(entry.index)
        effect = effect or Effect(
            entry.index, entry.leaf_hash, record.type, record.author, tuple(record.payload)
        )
        left = sorted(record.payload.keys() - effect.erased_at(NOW).keys())
        if left:
            yield _Found(effect, Parts(ids.format_digest(entry.leaf_hash), tuple(left)))


def _check(constitution: Constitution, operator: str, found: _Found, index: int) -> bytes | None:
    """Return the hash of the policy that its erasure waits under; raise if it may not be."""
    change, target = Erasure((found.parts,), "subject"), found.effect
    if constitution.closed is not None:
        raise StandingError(f"the ledger was closed by entry {constitution.closed}")
    constitution.check_author(operator, ERASURE_1, index)
    policy = changes.policy_over(constitution, change, [target])
    changes.check_right(constitution, change, [target], operator, index, policy)
    changes.apply(change, [target], {}, target.leaf_hash, index)
    return None if policy is None else hash_policy(policy)


def _order(ledger: Ledger, targets: Sequence[Parts], *, waits: bool) -> Order:
    body = msgspec.json.encode(Erasure(tuple(targets), "subject"))
    placed = ledger.append_as_operator(ERASURE_1.name, body)
    return Order(placed.index, ids.format_digest(placed.leaf_hash), len(targets), waits)


# --- the certificate -----------------------------------------------------------------


def certify(orders: Sequence[tuple[Ledger, str]], now_ms: int) -> Certificate:
    """Certify orders, each by ledger and leaf hash; :class:`NotFoundError` before one is done."""
    erased = tuple(_certify(ledger, leaf_hash) for ledger, leaf_hash in orders)
    return Certificate(erased, FORMAT, clock.format_time(now_ms))


def _certify(ledger: Ledger, order: str) -> Erased:
    wanted = ids.parse_digest(order)
    index = ledger.states.indexes_of([wanted]).get(wanted)
    effect = None if index is None else ledger.effects([index]).get(index)
    if effect is None or effect.done_at is None or effect.type != ERASURE_1.name:
        raise NotFoundError(f"{ledger.name}: {order} is no order to erase that is done")
    return Erased(_show(ledger, effect.done_at), _show(ledger, effect.index))


def _show(ledger: Ledger, index: int) -> Shown:
    entry = ledger.entry(index)
    return show(parse_entry(entry.leaf).record, entry.parts["body"], ledger.receipt(index))
