"""A bench that calls a miss a pass is worse than none."""

from __future__ import annotations

import pytest

from tests.bench.figures import Ceiling, Figure, Report, Rule, Target, percentile


def figure(value: float, rule: Rule, bound: float, errors: int = 0) -> Figure:
    ceiling, target = Ceiling("bare", 100.0), Target(rule, bound)
    return Figure("section", "name", value, "ms", ceiling, target, errors)


@pytest.mark.parametrize(
    ("value", "rule", "bound", "verdict"),
    [
        (90, "ratio at least", 0.9, "pass"),
        (89, "ratio at least", 0.9, "MISS"),
        (220, "ratio at most", 2.2, "pass"),
        (221, "ratio at most", 2.2, "MISS"),
        (102, "excess at most", 2, "pass"),
        (103, "excess at most", 2, "MISS"),
        (1.0, "at most", 1, "pass"),
        (1.1, "at most", 1, "MISS"),
    ],
)
def test_a_figure_is_held_to_its_target(
    value: float, rule: Rule, bound: float, verdict: str
) -> None:
    assert figure(value, rule, bound).verdict == verdict


def test_a_figure_with_errors_never_passes() -> None:
    failed = figure(90, "ratio at least", 0.9, errors=1)
    assert failed.verdict == "FAILED"
    assert Report([failed]).has_failed


def test_a_missed_target_is_named_and_is_no_failure() -> None:
    report = Report([figure(90, "ratio at least", 0.9), figure(10, "ratio at least", 0.9)])
    assert report.summary() == "1 of 2 targets met\n  missed  section: name"
    assert not report.has_failed


def test_a_figure_without_target_has_no_verdict() -> None:
    assert Figure("section", "name", 1, "ms", Ceiling("bare", 2)).verdict == ""


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (
        51,
        100,
        7,
    )
