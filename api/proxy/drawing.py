"""Which budgets a call draws from, and which rates it counts for.

Every call draws from the budgets of its session, agent, user, credential and of the day, limited
or not, so that a limit set later knows what was spent before. The ledger decides, in the order in
which calls get their places: nothing is compared here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from api.proxy.answers import Refusal
from api.proxy.request import Request
from ledger_core.capturing import Scribe
from ledger_core.errors import AllowanceError, LimitError
from ledger_core.policy.allowances import Draw, Rate, day_ends_ms, day_of
from ledger_core.records.types.capture_limits import CaptureLimits


@dataclass(frozen=True)
class Drawn:
    """What a call draws; ``limits`` are those of ``draws``, in order, enforced or not."""

    draws: tuple[Draw, ...]
    rates: tuple[Rate, ...]
    limits: tuple[int | None, ...]

    def settled(self, by_microusd: int) -> tuple[Draw, ...]:
        """Return the draws of the call's end: what it cost more, or less, than was reserved."""
        if not by_microusd:
            return ()
        return tuple(
            Draw(each.key, by_microusd, None, each.label, each.until_ms) for each in self.draws
        )

    def over(self, used: Sequence[int]) -> tuple[tuple[str, int, int], ...]:
        """Return the limits that were used up before, of those that only warn: used, and limit."""
        return tuple(
            (draw.label, before, limit)
            for draw, limit, before in zip(self.draws, self.limits, used, strict=True)
            if limit is not None and before >= limit
        )

    def warning(self, used: Sequence[int]) -> str | None:
        """Say which limits were used up before, of those that only warn."""
        over = [label for label, _, _ in self.over(used)]
        return f"budget exceeded: {', '.join(over)}" if over else None


def draw(
    scribe: Scribe,
    limits: CaptureLimits,
    request: Request,
    user_id: str | None,
    reserved_microusd: int,
) -> Drawn:
    """Put together what a call draws."""
    identity = request.identity
    day, ends_ms = day_of(request.began_at_ms), day_ends_ms(request.began_at_ms)
    named = (
        ("session", identity.session_id, limits.budget_session_microusd, None),
        ("agent", identity.agent_name, limits.budget_agent_microusd, day),
        ("user", user_id, limits.budget_user_microusd, day),
        ("credential", request.credential, limits.budget_credential_microusd, day),
        ("daily", "", limits.budget_daily_microusd, day),
    )
    only_warns = limits.budget_action == "warn"
    draws: list[Draw] = []
    told: list[int | None] = []
    for kind, name, limit, of_day in named:
        if name is None:
            continue
        most = _or_none(limit)
        key = scribe.allowance_key(kind, name, of_day)
        until_ms = None if of_day is None else ends_ms
        draws.append(Draw(key, reserved_microusd, None if only_warns else most, kind, until_ms))
        told.append(most if only_warns else None)
    return Drawn(tuple(draws), _rates(scribe, limits, request, user_id), tuple(told))


def _rates(
    scribe: Scribe, limits: CaptureLimits, request: Request, user_id: str | None
) -> tuple[Rate, ...]:
    identity = request.identity
    named = (
        ("total", "", limits.rpm_total),
        ("session", identity.session_id, limits.rpm_session),
        ("agent", identity.agent_name, limits.rpm_agent),
        ("user", user_id, limits.rpm_user),
    )
    return tuple(
        Rate(scribe.allowance_key(f"rate-{kind}", name), most, kind)
        for kind, name, limit in named
        if name is not None and (most := _or_none(limit)) is not None
    )


def _or_none(limit: int | UnsetType | None) -> int | None:
    return None if limit is UNSET else limit


def refusal_of(error: LimitError) -> Refusal:
    """Turn the ledger's no into an answer."""
    if isinstance(error, AllowanceError):
        used, limit = _usd(error.used), _usd(error.limit)
        reason, message = "budget_exceeded", f"{error.label} budget exceeded: {used} of {limit}"
    else:
        reason = "rate_limit_exceeded"
        message = f"{error.label} rate limit exceeded: {error.limit} calls a minute"
    return Refusal(
        reason,
        message,
        429,
        limit=error.limit,
        used=error.used,
        scope=error.label,
        retry_after_s=error.retry_after_s,
    )


def _usd(microusd: int) -> str:
    whole, rest = divmod(microusd, 1_000_000)
    return f"${whole}.{rest:06d}".rstrip("0").ljust(len(str(whole)) + 4, "0")
