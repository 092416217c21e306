"""Time as text: one spelling for every millisecond from 1970 to 9999."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import clock
from ledger_core.errors import MalformedError
from tests.ledger_core.formats import strategies as made


@given(made.times)
def test_a_time_is_read_as_it_is_written(at_ms: int) -> None:
    assert clock.parse_time(clock.format_time(at_ms)) == at_ms


@given(made.times, made.times)
def test_texts_of_times_sort_as_the_times_do(one_ms: int, other_ms: int) -> None:
    one, other = clock.format_time(one_ms), clock.format_time(other_ms)
    assert (one < other) == (one_ms < other_ms)


@given(made.mutations(made.times.map(lambda at: clock.format_time(at).encode())))
def test_a_spoilt_time_is_refused_or_written_as_it_was_read(raw: bytes) -> None:
    text = raw.decode("latin-1")
    try:
        assert clock.format_time(clock.parse_time(text)) == text
    except MalformedError:
        return


@given(st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fullmatch=True))
def test_whatever_looks_like_a_time_is_one_or_is_refused(text: str) -> None:
    try:
        assert clock.format_time(clock.parse_time(text)) == text
    except MalformedError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "0000-01-01T00:00:00.000Z",
        "1969-12-31T23:59:59.999Z",
        "1900-02-29T00:00:00.000Z",
        "2016-12-31T23:59:60.000Z",
        "2026-08-01T24:00:00.000Z",
        "2026-08-01T23:60:00.000Z",
        "2026-13-01T00:00:00.000Z",
        "2026-00-01T00:00:00.000Z",
        "2026-08-00T00:00:00.000Z",
        "2026-06-31T00:00:00.000Z",
        "2026-W31-6T00:00:00.000Z",
        "2026-08-01 00:00:00.000Z",
        "2026-08-01T00:00:00.000z",
        "2026-08-01T00:00:00.000",
        "2026-08-01T00:00:00.000+00:00",
        "2026-08-01T00:00:00Z",
        "2026-08-01T00:00:00.0000Z",
        "2026-08-01T00:00:00.000Z\n",
        "٢٠٢٦-08-01T00:00:00.000Z",
        "",
    ],
)
def test_a_time_that_never_was_or_is_spelled_otherwise_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        clock.parse_time(text)


def test_now_is_in_milliseconds() -> None:
    assert abs(clock.now_ms() - time.time() * 1000) < 60_000
    assert clock.parse_time(clock.format_time(clock.now_ms())) <= clock.now_ms()
