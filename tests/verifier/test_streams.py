"""Check 16 on streams: evidence that is missing, invented or about another entry is found."""

from __future__ import annotations

import tracemalloc
from array import array
from collections.abc import Collection
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import ids
from ledger_core.formats import archive
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.merkle.tiles import format_bundle
from tests.support.archives import Archive, Log, key
from tests.verifier.audits import audit
from verifier import buckets
from verifier.audit import Options, Verdict
from verifier.governance import Stamps
from verifier.report import not_proven
from verifier.streams import Streams, count


class Numbered(Log):
    """A log whose agent numbers its notes; the operator may write any evidence."""

    def say(self, n: int, author: PrivateKey | None = None, stream: str = "run") -> int:
        return self.note({"at": len(self.leaves)}, author, stream=stream, n=n)

    def accuse(self, first: int, second: int) -> int:
        named = {"first": first, "second": second}
        digests = {name: ids.format_digest(self.hashes[at]) for name, at in named.items()}
        return self.append("equivocation/1", {"kind": "stream", **digests}, self.operator)

    def repeat(self, first: int, n: int = 0) -> int:
        """Give a number again, with the evidence that is due; return the note's index."""
        second = self.say(n)
        self.accuse(first, second)
        return second

    def withholding(self, hidden: Collection[int]) -> Archive:
        """Export all but the entries ``hidden``, of which there is the leaf hash."""
        made = self.archive()
        shown = [b"" if at in hidden else leaf for at, leaf in enumerate(self.leaves)]
        made.files[archive.entries_name(0)] = format_bundle(shown)
        frames = [self._frames(at, {}) for at in range(len(shown)) if at not in hidden]
        made.files[archive.payloads_name(0)] = b"".join(frames)
        hashes = [self.hashes[at] for at in sorted(hidden)]
        made.files[archive.withheld_name(0)] = b"".join(hashes)
        counts = made.manifest().counts
        by_type = dict(counts.by_type)
        for at in hidden:
            by_type[self._record(at).type] -= 1
        changed = msgspec.structs.replace(
            counts,
            entries_withheld=len(hidden),
            parts_present=counts.parts_present - len(hidden),
            by_type={name: n for name, n in by_type.items() if n},
        )
        return made.reseal(counts=changed)


def numbered() -> Numbered:
    log = Numbered.founded()
    assert isinstance(log, Numbered)
    return log


def fails(verdict: Verdict) -> list[tuple[int, int | None]]:
    found = verdict.findings.in_order()
    return [(each.check, each.index) for each in found if each.level != "info"]


def failing(log: Log, start: int = 0, end: int | None = None) -> list[tuple[int, int | None]]:
    return fails(audit(log.archive(start, end)))


def test_evidence_of_every_repetition_against_the_first_verifies() -> None:
    log = numbered()
    first = log.say(0)
    log.say(1)
    for _ in range(3):
        log.repeat(first)
    verdict = audit(log.archive())
    assert fails(verdict) == []
    assert (verdict.equivocations, verdict.counters_not_judged) == (3, 0)


def test_numbers_of_other_authors_and_streams_need_no_evidence() -> None:
    log = numbered()
    log.register(key(9))
    for author, stream in ((None, "run"), (key(9), "run"), (None, "walk")):
        log.say(0, author, stream)
    assert failing(log) == []


def test_evidence_that_is_missing_is_named_where_it_should_stand() -> None:
    log = numbered()
    first = log.say(0)
    second = log.say(0)
    assert failing(log) == []  # It would lie behind the range.
    log.say(1)
    assert failing(log) == [(16, second + 1)]
    log.accuse(first, second)  # Too late.
    assert (16, second + 1) in failing(log)


def test_evidence_against_another_than_the_first_is_found() -> None:
    log = numbered()
    first = log.say(0)
    second = log.repeat(first)
    third = log.say(0)
    wrong = log.accuse(second, third)
    assert failing(log) == [(16, wrong)]


def test_evidence_about_another_than_the_entry_before_is_found() -> None:
    log = numbered()
    first = log.say(0)
    second = log.repeat(first)
    log.say(1)
    wrong = log.accuse(first, second)
    assert failing(log) == [(16, wrong)]


@pytest.mark.parametrize("n", [1, None])
def test_invented_evidence_is_found(n: int | None) -> None:
    log = numbered()
    first = log.say(0)
    second = log.note("no number") if n is None else log.say(n)
    invented = log.accuse(first, second)
    assert failing(log) == [(16, invented)]


def test_a_constitutional_record_needs_no_evidence_and_gets_none() -> None:
    log = numbered()
    body = {"action": "revoke", "key": ids.format_key(log.agent.public_key), "reason": "lost"}
    first = log.note("mine", log.operator, stream="run", n=0)
    second = log.append("key/1", body, log.operator, stream="run", n=0)
    log.note("more", log.operator)
    assert failing(log) == []
    wrong = Numbered(leaves=log.leaves[:-1], hashes=log.hashes[:-1], payloads=log.payloads[:-1])
    invented = wrong.accuse(first, second)
    assert failing(wrong) == [(16, invented)]


def test_a_range_judges_what_it_shows_and_says_what_it_cannot() -> None:
    log = numbered()
    first = log.say(0)
    second = log.repeat(first)
    third = log.repeat(first)
    for start, not_judged in ((second, 1), (second + 1, 2), (third, 1), (third + 1, 1)):
        made = log.archive(start)
        verdict = audit(made)
        assert fails(verdict) == []
        assert verdict.counters_not_judged == not_judged
        gaps = "\n".join(not_proven(verdict, Options(archive=Path("a"))))
        assert "say of numbers given twice" in gaps
        assert ("no number of a stream was given before" in gaps) == (start != third + 1)


def test_in_a_range_evidence_that_is_missing_or_says_two_things_is_found() -> None:
    log = numbered()
    first = log.say(0)
    second = log.repeat(first)
    third = log.say(0)
    log.say(1)
    assert failing(log, second) == [(16, third + 1)]
    other = numbered()
    first = other.say(0)
    second = other.repeat(first)
    third = other.say(0)
    wrong = other.accuse(second, third)
    assert failing(other, second) == [(16, wrong)]
    assert failing(other, 0, second + 1) == []


def test_a_withheld_first_entry_is_not_judged_and_the_rest_is() -> None:
    log = numbered()
    first = log.say(0)
    second = log.repeat(first)
    third = log.repeat(first)
    verdict = audit(log.withholding({first}))
    assert fails(verdict) == []
    assert verdict.counters_not_judged == 1
    assert fails(audit(log.withholding({first, second}))) == []
    assert fails(audit(log.withholding({second, third}))) == []
    log.say(0)
    log.say(1)
    assert fails(audit(log.withholding({first, second}))) == [(16, third + 3)]


def test_evidence_across_the_border_of_two_segments_is_judged() -> None:
    log = numbered()
    first = log.say(0)
    while len(log.leaves) < 2047:
        log.note("")
    second = log.repeat(first)
    assert (second, len(log.leaves)) == (2047, 2049)
    assert failing(log) == []
    wrong = Numbered(leaves=log.leaves[:-1], hashes=log.hashes[:-1], payloads=log.payloads[:-1])
    wrong.note("in its place")
    assert failing(wrong) == [(16, 2048)]
    wrong = Numbered(leaves=log.leaves[:-2], hashes=log.hashes[:-2], payloads=log.payloads[:-2])
    wrong.note("no number")
    assert failing(wrong) == []
    wrong.accuse(first, 2047)
    assert failing(wrong) == [(16, 2048)]


# --- against a plain table ---------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from(["say", "honest", "accuse"]), st.integers(0, 2), st.integers(0, 9)),
    max_size=12,
)


def wrongs(log: Numbered, told: list[tuple[int, int] | int | None]) -> set[int]:
    """Judge entry by entry: ``told`` has numbers given, and evidence as (first, second)."""
    first: dict[int, int] = {}
    wrong = set()
    for index, each in enumerate(told):
        before = told[index - 1] if index else None
        due = None
        if isinstance(before, int) and first.get(before) != index - 1:
            due = (first[before], index - 1)
        if (due is not None and each != due) or (due is None and isinstance(each, tuple)):
            wrong.add(index)
        if isinstance(each, int):
            first.setdefault(each, index)
    return wrong


@given(STEPS)
def test_what_is_found_is_what_a_plain_table_says(steps: list[tuple[str, int, int]]) -> None:
    log = numbered()
    told: list[tuple[int, int] | int | None] = [None] * len(log.leaves)
    first: dict[int, int] = {}
    for how, n, back in steps:
        if how == "accuse":
            named = (2 + back % max(1, len(told) - 2), len(told) - 1)
            if len(told) < 4 or named[0] == named[1]:
                continue
            log.accuse(*named)
            told.append(named)
            continue
        at = log.say(n)
        told.append(n)
        if how == "honest" and first.setdefault(n, at) != at:
            log.accuse(first[n], at)
            told.append((first[n], at))
        first.setdefault(n, at)
    found = failing(log)
    assert {index for check, index in found if check == 16} == wrongs(log, told)
    assert {check for check, _ in found} <= {16}


# --- how much ------------------------------------------------------------------------


def test_the_counters_of_many_entries_are_not_held_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buckets, "RUN_BYTES", 100_000)
    tracemalloc.start()
    with Streams() as streams:
        for start in range(0, 40_000, 1_000):
            counters = {index: b"%d" % index for index in range(start, start + 1_000)}
            stamps = Stamps(start, bytes(32_000), array("q", [0]) * 1_000)
            counted = count(counters, stamps, [], 7)
            assert list(streams.take(start + 999, counted, [])) == []
        assert list(streams.findings(40_000)) == []
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_500_000, "40,000 counters with their leaf hashes are 2,280,000 bytes"
