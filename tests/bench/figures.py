"""A figure: what was measured, beside the ceiling of the same run and the target it is held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Rule = Literal["ratio at least", "ratio at most", "excess at most", "at most"]


@dataclass(frozen=True)
class Ceiling:
    """What the machine itself gives: measured in the same run, in the figure's unit."""

    name: str
    value: float


@dataclass(frozen=True)
class Target:
    """The bound, on value ÷ ceiling (ratio), value − ceiling (excess) or the value alone."""

    rule: Rule
    bound: float


@dataclass(frozen=True)
class Figure:
    """One measurement. ``errors`` counts operations that failed: then the value says nothing."""

    section: str
    name: str
    value: float
    unit: str
    ceiling: Ceiling | None = None
    target: Target | None = None
    errors: int = 0
    note: str = ""

    @property
    def judged(self) -> float | None:
        """Return what the target bounds; None without ceiling."""
        if self.target is not None and self.target.rule == "at most":
            return self.value
        if self.ceiling is None:
            return None
        if self.target is not None and self.target.rule == "excess at most":
            return self.value - self.ceiling.value
        return self.value / self.ceiling.value

    @property
    def verdict(self) -> str:
        """Return pass, MISS or FAILED; nothing where no target was set."""
        if self.errors:
            return "FAILED"
        judged = self.judged
        if self.target is None or judged is None:
            return ""
        is_floor = self.target.rule == "ratio at least"
        is_met = judged >= self.target.bound if is_floor else judged <= self.target.bound
        return "pass" if is_met else "MISS"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "judged": self.judged, "verdict": self.verdict}


@dataclass
class Report:
    """The figures of one run, printed as they come."""

    figures: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> None:
        self.figures.append(figure)
        print(format_line(figure), flush=True)

    def heading(self, text: str) -> None:
        print(f"\n{text}", flush=True)

    def summary(self) -> str:
        verdicts = [figure.verdict for figure in self.figures if figure.verdict]
        missed = [f"{f.section}: {f.name}" for f in self.figures if f.verdict in ("MISS", "FAILED")]
        lines = [f"{verdicts.count('pass')} of {len(verdicts)} targets met"]
        return "\n  missed  ".join([*lines, *missed])

    @property
    def has_failed(self) -> bool:
        """Say whether a measurement went wrong; a missed target is not that."""
        return any(figure.errors for figure in self.figures)


def format_line(figure: Figure) -> str:
    """Format one line: figure, ceiling, ratio, target, verdict."""
    columns = [f"  {figure.name:<42}", f"{_number(figure.value):>10} {figure.unit:<9}"]
    ceiling = figure.ceiling
    columns.append(f"{ceiling.name} {_number(ceiling.value)}" if ceiling else "")
    columns[-1] = f"{columns[-1]:<34}"
    columns.append(f"{_judged(figure):<22}")
    columns.append(figure.verdict)
    if figure.errors:
        columns.append(f"({figure.errors} errors)")
    if figure.note:
        columns.append(f"({figure.note})")
    return " ".join(columns).rstrip()


def _judged(figure: Figure) -> str:
    judged, target = figure.judged, figure.target
    if judged is None:
        return ""
    shown = _number(judged)
    if target is None:
        return f"{shown} ×"
    if target.rule == "at most":
        return f"at most {_number(target.bound)}"
    unit = f" {figure.unit}" if target.rule == "excess at most" else ""
    sign = "≥" if target.rule == "ratio at least" else "≤"
    return (
        f"{judged:+.2f}{unit} {sign} {target.bound:g}"
        if unit
        else f"{shown} {sign} {target.bound:g}"
    )


def _number(value: float) -> str:
    return (
        f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if value < 0.1 else f"{value:.2f}"
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
