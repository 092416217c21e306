"""When a call, or several, are worth an alert. Pure: no clock, no log, no network of its own.

An alert is raised once for each matter and window: ``high_cost`` and ``high_latency`` for each
agent (or session, where no agent is named), ``high_error_rate`` for the service,
``budget_exceeded`` for each budget. A window of spending is a UTC day.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from api.feed import Ended
from ledger_core import clock
from ledger_core.records.types.alert import Alert, AlertKind
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_refused import LlmRefused

DAY_MS = 86_400_000
_ERRORS_WINDOW_S = 300
_LEAST_CALLS = 10
"""Of fewer calls no share is taken: the first one to fail would be all of them."""
_REMEMBERED = 10_000
_MICROUSD = 1_000_000
_WHOSE = {
    "session": "session_id",
    "agent": "agent_name",
    "user": "user_id",
    "credential": "credential",
}
"""Which budget is whose; that of the day is everybody's."""


@dataclass(frozen=True)
class Thresholds:
    """What is asked to be told of; None is not asked."""

    cost_per_call_microusd: int | None = None
    latency_ms: float | None = None
    error_rate: float | None = None
    daily_spend_microusd: int | None = None
    window_ms: int = 300_000

    @property
    def are_any(self) -> bool:
        """Whether anything is asked."""
        asked = (
            self.cost_per_call_microusd,
            self.latency_ms,
            self.error_rate,
            self.daily_spend_microusd,
        )
        return any(each is not None for each in asked)


@dataclass(frozen=True)
class Raised:
    """An alert, what it is about, and the window that it counts for."""

    alert: Alert
    scope: str
    since_ms: int


class Rules:
    """Judges calls as they come; remembers what was raised. Used by one thread alone."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._asked = thresholds
        self._errors = ErrorRate()
        self._raised: OrderedDict[tuple[str, str, int], None] = OrderedDict()

    def judge(self, ended: Ended, now_ms: int) -> list[Raised]:
        """Return the alerts that a call gives rise to, and that were not raised before."""
        call = ended.call
        if isinstance(call, LlmRefused):
            found = self._of_refusal(call, now_ms)
        else:
            found = self._of_call(call, now_ms)
        budgets = (self._over_budget(call, *each, now_ms) for each in ended.over_budget)
        return [each for each in (*found, *budgets) if self._is_first(each)]

    def judge_day(self, spent_microusd: int, now_ms: int) -> list[Raised]:
        """Return the alert of a day's spending, once a day."""
        limit = self._asked.daily_spend_microusd
        if limit is None or spent_microusd <= limit:
            return []
        message = f"Spent {_dollars(spent_microusd)} today; told from {_dollars(limit)} on."
        alert = _alert("daily_spend", message, spent_microusd, limit, now_ms)
        raised = Raised(alert, "", now_ms - now_ms % DAY_MS)
        return [raised] if self._is_first(raised) else []

    def _of_call(self, call: LlmCall2, now_ms: int) -> Iterator[Raised]:
        cost, most = call.cost_microusd, self._asked.cost_per_call_microusd
        if cost is not None and most is not None and cost > most:
            message = f"One call cost {_dollars(cost)}; told from {_dollars(most)} on."
            yield self._about(call, _alert("high_cost", message, cost, most, now_ms, call))
        took, longest = call.latency_ms, self._asked.latency_ms
        if took is not None and longest is not None and took > longest:
            message = f"One call took {took} ms; told from {longest:g} ms on."
            yield self._about(call, _alert("high_latency", message, took, longest, now_ms, call))
        yield from self._of_errors(call, now_ms)

    def _of_errors(self, call: LlmCall2, now_ms: int) -> Iterator[Raised]:
        most = self._asked.error_rate
        if most is None:
            return
        is_error = has_failed(call)
        self._errors.count(is_error, now_ms // 1000)
        calls, errors = self._errors.calls, self._errors.errors
        if is_error and calls >= _LEAST_CALLS and errors / calls > most:
            message = (
                f"{errors} of {calls} calls failed within {_ERRORS_WINDOW_S // 60} minutes; "
                f"told from {most:.0%} on."
            )
            alert = _alert("high_error_rate", message, errors / calls, most, now_ms, call)
            yield Raised(alert, "", self._window(now_ms))

    def _of_refusal(self, call: LlmRefused, now_ms: int) -> Iterator[Raised]:
        if call.reason == "budget_exceeded":
            yield self._over_budget(call, call.scope or "", call.used or 0, call.limit or 0, now_ms)

    def _over_budget(
        self, call: LlmCall2 | LlmRefused, budget: str, used: int, limit: int, now_ms: int
    ) -> Raised:
        # Whose budget it is may be a person's name: it parts the alerts, and is not told in them.
        message = f"A budget ({budget}) is used up: {_dollars(used)} of {_dollars(limit)}."
        alert = _alert("budget_exceeded", message, used, limit, now_ms, call)
        whose = getattr(call, _WHOSE[budget]) if budget in _WHOSE else None
        return Raised(alert, f"{budget} {whose or ''}", now_ms - now_ms % DAY_MS)

    def _about(self, call: LlmCall2, alert: Alert) -> Raised:
        scope = f"agent {call.agent_name}" if call.agent_name else f"session {call.session_id}"
        return Raised(alert, scope, self._window(clock.parse_time(alert.timestamp)))

    def _window(self, now_ms: int) -> int:
        return now_ms - now_ms % self._asked.window_ms

    def _is_first(self, raised: Raised) -> bool:
        key = (raised.alert.type, raised.scope, raised.since_ms)
        if key in self._raised:
            return False
        self._raised[key] = None
        if len(self._raised) > _REMEMBERED:
            self._raised.popitem(last=False)
        return True


def has_failed(call: LlmCall2) -> bool:
    """Say whether a call went wrong. One that its client left did not."""
    return call.ended in ("upstream_failed", "timed_out") or (call.status_code or 0) >= 400


class ErrorRate:
    """Calls and failures of the last minutes, exact to a second, in bounded memory."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int, int]] = deque()
        self.calls = self.errors = 0

    def count(self, is_error: bool, now_s: int) -> None:
        """Count one call; forget those that are too long ago."""
        if self._seconds and self._seconds[-1][0] >= now_s:
            # A clock that went back is no reason to keep seconds for ever.
            now_s, calls, errors = self._seconds.pop()
            self._seconds.append((now_s, calls + 1, errors + is_error))
        else:
            self._seconds.append((now_s, 1, int(is_error)))
        self.calls += 1
        self.errors += is_error
        while self._seconds[0][0] <= now_s - _ERRORS_WINDOW_S:
            _, calls, errors = self._seconds.popleft()
            self.calls -= calls
            self.errors -= errors


def _alert(
    kind: AlertKind,
    message: str,
    value: float,
    threshold: float,
    now_ms: int,
    call: LlmCall2 | LlmRefused | None = None,
) -> Alert:
    return Alert(
        type=kind,
        message=message,
        timestamp=clock.format_time(now_ms),
        value=float(value),
        threshold=float(threshold),
        action_id=call.action_id if call else None,
        session_id=call.session_id if call else None,
        agent_name=call.agent_name if call else None,
    )


def _dollars(microusd: float) -> str:
    return f"${microusd / _MICROUSD:,.4f}"
