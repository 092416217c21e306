"""Counters: which entry had a number first, and what is due behind a second one."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import clock, ids
from ledger_core.formats.ed25519 import PUBLIC_KEY_BYTES
from ledger_core.formats.record import Record
from ledger_core.policy.act import Act
from ledger_core.policy.streams import Counters, counter_of, evidence_of
from ledger_core.records import registry
from ledger_core.records.types.charter import CHARTER_1
from ledger_core.records.types.equivocation import Equivocation
from ledger_core.records.types.key import KEY_1
from ledger_core.records.types.note import NOTE_1
from ledger_core.records.types.outcome import Outcome
from tests.support.assemblies import Log, agent, founding, make_policy

KEYS = st.binary(min_size=PUBLIC_KEY_BYTES, max_size=PUBLIC_KEY_BYTES)
STREAMS = st.text("AZaz09._:-", min_size=1, max_size=64)
NUMBERS = st.integers(0, 2**53 - 1)


def record(key: bytes = bytes(32), stream: Any = msgspec.UNSET, n: Any = msgspec.UNSET) -> Record:
    return Record(
        v=1,
        ledger="origin",
        id=ids.new_record_id(),
        type="note/1",
        author=ids.format_key(key),
        made_at=clock.format_time(0),
        stream=stream,
        n=n,
    )


def test_a_record_without_a_number_has_no_counter() -> None:
    assert counter_of(NOTE_1, record()) is None


def test_a_record_that_may_change_who_writes_evidence_has_no_counter() -> None:
    numbered = record(stream="run", n=1)
    assert counter_of(NOTE_1, numbered) is not None
    for kind in registry.ALL:
        assert (counter_of(kind, numbered) is None) == kind.is_constitutional
    assert CHARTER_1.is_constitutional
    assert KEY_1.is_constitutional


@given(st.lists(st.tuples(KEYS, STREAMS, NUMBERS), unique=True, max_size=6))
def test_no_two_counters_are_the_same_bytes(found: list[tuple[bytes, str, int]]) -> None:
    assert len({counter_of(NOTE_1, record(*each)) for each in found}) == len(found)


@given(KEYS, STREAMS, st.lists(NUMBERS, min_size=2, max_size=6))
def test_numbers_of_a_stream_lie_in_their_order(
    key: bytes, stream: str, numbers: list[int]
) -> None:
    in_order = [counter_of(NOTE_1, record(key, stream, n)) for n in sorted(numbers)]
    assert in_order == sorted(each for each in in_order if each is not None)


@given(
    st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), st.binary(min_size=32, max_size=32)),
    st.lists(st.sampled_from([b"a", b"b", b"c", b"d", None]), max_size=12),
)
def test_counters_know_what_a_plain_list_of_entries_says(
    known: dict[bytes, bytes], given_to: list[bytes | None]
) -> None:
    counters, entries = Counters(known), list(known.items())
    for number, counter in enumerate(given_to):
        first = next((leaf for name, leaf in entries if name == counter), None)
        assert counters.find(counter) == first
        leaf = b"%032d" % number
        counters.give(counter, leaf)
        if counter is not None:
            entries.append((counter, leaf))
    for counter, leaf in counters.given.items():
        assert counter not in known
        assert leaf == next(each for name, each in entries if name == counter)


# --- what is due -----------------------------------------------------------------


def taken(log: Log, repeats: bytes | None) -> Act:
    index = len(log.acts)
    act = Act(
        index, b"%032d" % index, log.now_ms, NOTE_1, agent("acme"), {"body": {}}, repeats=repeats
    )
    log.assembly.take(act, log.assembly.check(act))
    log.acts.append(act)
    return act


def test_evidence_is_due_behind_a_repetition_and_behind_nothing_else() -> None:
    log = Log(founding())
    first = taken(log, None)
    assert not log.assembly.due
    second = taken(log, first.leaf_hash)
    assert list(log.assembly.due) == [evidence_of(first.leaf_hash, second.leaf_hash)]


def test_evidence_comes_before_the_outcome_that_the_same_entry_makes_due() -> None:
    policy = make_policy(
        "note/1", rule=msgspec.structs.replace(make_policy("x/1").rule, at_least=1)
    )
    log = Log(founding(policy))
    taken(log, b"\1" * 32)
    assert [type(each) for each in log.assembly.due] == [Equivocation, Outcome]
