"""Ids are compared in a temporary file, however many there are."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Sequence

import pytest

from ledger_core import ids
from verifier import buckets
from verifier.buckets import BUCKETS
from verifier.repeats import Repeats, spread

SPREADER = random.Random(7).getrandbits(128) | 1


def found(stretches: Sequence[tuple[Sequence[str], Sequence[int]]]) -> list[tuple[int | None, str]]:
    """Return index and words of what was found, by index."""
    with Repeats() as collected:
        for names, indexes in stretches:
            collected.add(spread(names, indexes, SPREADER))
        findings = [(each.index, each.found) for each in collected.findings()]
    return sorted(findings, key=lambda each: each[0] or 0)


def test_nothing_is_found_where_there_is_nothing() -> None:
    assert found([]) == []
    assert found([([], [])]) == []


@pytest.mark.parametrize("run_bytes", [1, 5_000, buckets.RUN_BYTES])
def test_each_repetition_is_found_with_the_first_entry_of_its_id_in_runs_of_any_size(
    run_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "RUN_BYTES", run_bytes)
    names = [ids.new_record_id() for _ in range(3_000)]
    names[1_500], names[2_999] = names[7], names[7]
    names[701] = names[700]
    stretches = [(names[at : at + 100], range(at, at + 100)) for at in range(0, 3_000, 100)]
    assert found(stretches) == [
        (701, f"{names[700]}, as entry 700"),
        (1_500, f"{names[7]}, as entry 7"),
        (2_999, f"{names[7]}, as entry 7"),
    ]


def test_ids_of_the_same_millisecond_or_tail_are_spread_over_all_buckets() -> None:
    for form in ("019ac0de-5a00-7000-8000-{:012x}", "{:08x}-5a00-7000-8000-00000000b42d"):
        names = [form.format(number) for number in range(20_000)]
        sizes = [len(items) // 24 for items in spread(names, range(20_000), SPREADER)]
        assert len(sizes) == BUCKETS
        assert sum(sizes) == 20_000
        assert max(sizes) < 2_000


def test_the_ids_of_many_entries_are_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "RUN_BYTES", 100_000)
    form = "019ac0de-5a00-7000-8000-{:012x}"
    stretches = [range(at, at + 1_000) for at in range(0, 60_000, 1_000)]
    items = [spread([form.format(n) for n in each], each, SPREADER) for each in stretches]
    tracemalloc.start()
    with Repeats() as collected:
        while items:
            collected.add(items.pop())
        assert list(collected.findings()) == []
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000, "60,000 ids with their indexes are 1,440,000 bytes"
