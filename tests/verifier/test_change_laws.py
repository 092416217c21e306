"""An archive passes exactly if the rules took every entry: random changes, allowed and not."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger_core.errors import RefusedError
from ledger_core.policy.assembly import Assembly, due_type
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect, retired_at
from tests.support.archives import BEGAN_MS, key
from tests.verifier.audits import audit
from tests.verifier.test_changes import AGREED, OTHER, Governed

AUTHORS = [key(2), OTHER, key(8), key(1), key(60)]
ENTRIES = st.integers(1, 24)

Step = Callable[[Governed], int]


def _on(name: str) -> st.SearchStrategy[Step]:
    """Make a step on one entry, by somebody."""
    authors = st.sampled_from(AUTHORS)

    def step(index: int, author: object) -> Step:
        return lambda log: getattr(log, name)(index % len(log.leaves), author=author)

    return st.builds(step, ENTRIES, authors)


STEPS: st.SearchStrategy[Step] = st.one_of(
    _on("amend"),
    _on("redact"),
    _on("erase"),
    _on("hold"),
    st.builds(lambda i: lambda log: log.hold(i % len(log.leaves), "release"), ENTRIES),
    st.builds(lambda i: lambda log: log.unredact(i % len(log.leaves)), ENTRIES),
    st.builds(lambda i: lambda log: log.done(i % len(log.leaves)), ENTRIES),
    st.builds(lambda i, to: lambda log: log.roll_back(i % len(log.leaves), to), ENTRIES, ENTRIES),
    st.builds(lambda s: lambda log: log.retire(BEGAN_MS + 1000 * s), st.integers(0, 6)),
    st.builds(
        lambda i, who: lambda log: log.endorse(i % len(log.leaves), who),
        ENTRIES,
        st.sampled_from(AUTHORS[:3]),
    ),
)


def replay(log: Governed) -> tuple[Assembly, bool]:
    """Return what the rules make of a log, and whether they took every entry."""
    assembly, is_right = Assembly(Constitution(), {}), True
    for index in range(len(log.leaves)):
        act = log.act(index)
        assert act is not None
        assembly.alterations.learn(act)
        try:
            assembly.take(act, assembly.check(act))
        except RefusedError:
            is_right = False
            assembly.due.clear()
    return assembly, is_right


def settle(log: Governed) -> None:
    """Append what is due, as an honest service does."""
    while due := replay(log)[0].due:
        log.append(due_type(due[0]).name, msgspec.to_builtins(due[0]), log.operator)


def gone(log: Governed, assembly: Assembly) -> list[tuple[int, str]]:
    """Return the parts that are erased by now."""
    size, found = len(log.leaves), []
    for index in range(1, size):
        act = log.act(index)
        assert act is not None
        if act.kind.is_governance:
            continue
        effect = assembly.alterations.effects.get(act.leaf_hash) or Effect(
            index, act.leaf_hash, act.kind.name, act.author
        )
        retired = retired_at(assembly.constitution, effect, act.received_at, "body", size)
        if retired is not None or effect.erased_at(size):
            found.append((index, "body"))
    return found


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(STEPS, min_size=1, max_size=9),
    is_agreed=st.booleans(),
    is_honest=st.booleans(),
    start=st.integers(0, 12),
)
def test_an_archive_passes_exactly_if_the_rules_took_every_entry(
    steps: list[Step], is_agreed: bool, is_honest: bool, start: int
) -> None:
    log = Governed.with_notes(4, *([AGREED] if is_agreed else []))
    for step in steps:
        before = len(log.leaves)
        step(log)
        if is_honest and not replay(log)[1]:
            del log.leaves[before:], log.hashes[before:], log.payloads[before:]
        settle(log)
    assembly, is_right = replay(log)
    erased = gone(log, assembly)
    found = audit(log.archive(erased=erased)).findings
    assert found.has("fail") is not is_right, found.first()
    assert not found.has("malformed")
    if is_right:
        first = min(start, len(log.leaves) - 1)
        shown = [each for each in erased if each[0] >= first]
        assert audit(log.archive(first, erased=shown)).findings.kept == []
