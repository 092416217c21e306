"""Allowances: how much calls may cost, and how many there may be in any sixty seconds.

A **draw** takes from a budget: at the start of a call what it may cost at most is taken
(reserved), at its end what it did not cost is given back (settled). A budget that is used up
refuses the next draw, never the one that uses it up: what a call costs is known when it is
over. So many calls at once go beyond a budget by one call at most, because each reserves
before the next one asks.

A **rate** counts calls in a sliding window of sixty seconds, exact to a second.

Both are decided inside the append transaction, in the order in which records get their
places, so all processes of a service share them. Keys are digests: no name stands in a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b

import msgspec

from ledger_core.errors import AllowanceError, RateError

KEY_BYTES = 16
WINDOW_S = 60
_DAY_S = 86_400
_USED_MAX = 2**62
_COARSE_MS = 600_000
"""A window's row lives a little longer than it must, so that its index is seldom written."""


class Draw(msgspec.Struct, frozen=True):
    """Takes ``amount_microusd`` (or gives it back, below zero) from the budget ``key``.

    Refused if ``limit_microusd`` is used up before. ``label`` is what a refusal calls the
    budget; ``until_ms``: from then on the budget is over and forgotten.
    """

    key: bytes
    amount_microusd: int
    limit_microusd: int | None
    label: str
    until_ms: int | None = None


class Rate(msgspec.Struct, frozen=True):
    """Counts one call for ``key``; refused if there were ``limit`` in the last sixty seconds."""

    key: bytes
    limit: int
    label: str


@lru_cache(maxsize=4096)
def allowance_key(secret: bytes, kind: str, name: str, day: int | None = None) -> bytes:
    """Name an allowance: of a session, an agent, …; of one day, if it is a daily one.

    ``secret`` (at most 64 bytes) is that of all who share the allowance: without it nobody can
    find out by trying whose it is. ``day``: days since the epoch, UTC.
    """
    told = "\0".join((kind, "" if day is None else str(day), name))
    raw = told.encode("utf-8", "surrogatepass")
    return blake2b(raw, digest_size=KEY_BYTES, key=secret, person=b"ledgergrid-allow").digest()


def day_of(at_ms: int) -> int:
    """Return the days since the epoch, UTC."""
    return at_ms // (_DAY_S * 1000)


def day_ends_ms(at_ms: int) -> int:
    """Return when the day of ``at_ms`` is over, UTC."""
    return (day_of(at_ms) + 1) * _DAY_S * 1000


# --- what is used ----------------------------------------------------------------------


class Window(msgspec.Struct, frozen=True):
    """How often something happened in each of the last sixty seconds; ``second`` is the newest.

    ``counts``: of ``second`` and the seconds before it, at most sixty, the last one not 0.
    """

    second: int
    counts: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.counts)

    def at(self, second: int) -> Window:
        """Return the same window as of a later second; as of an earlier one it is what it is."""
        passed = min(second - self.second, WINDOW_S)
        if passed <= 0:
            return self
        return Window(second, _trim(((0,) * passed + self.counts)[:WINDOW_S]))

    def counted(self) -> Window:
        """Return it with one more now."""
        newest, *older = self.counts or (0,)
        return Window(self.second, (newest + 1, *older))

    def frees_in_s(self, limit: int) -> int:
        """Return in how many seconds there will be fewer than ``limit`` in it; at most sixty."""
        left = self.total
        for age in range(len(self.counts) - 1, -1, -1):
            left -= self.counts[age]
            if left < limit:
                return WINDOW_S - age
        return WINDOW_S


def _trim(counts: tuple[int, ...]) -> tuple[int, ...]:
    end = len(counts)
    while end and not counts[end - 1]:
        end -= 1
    return counts[:end]


class Spent(msgspec.Struct, frozen=True):
    """What is used of a budget, and until when it counts."""

    microusd: int
    until_ms: int | None = None


State = Spent | Window

_BUDGET, _RATE = b"b", b"r"
_UNSPENT = Spent(0)


def state_key(of: Draw | Rate) -> bytes:
    """Name what is known of a draw or rate: a budget and a rate never share it."""
    return (_BUDGET if isinstance(of, Draw) else _RATE) + of.key


def ends_ms(state: State) -> int | None:
    """Return from when on a state says nothing any more, and may be forgotten."""
    if isinstance(state, Spent):
        return state.until_ms
    return -(-(state.second + WINDOW_S) * 1000 // _COARSE_MS) * _COARSE_MS


class Allowances:
    """What is known of the allowances of one batch, at ``now_ms``; ``changed`` is to be stored."""

    def __init__(self, known: Mapping[bytes, State], now_ms: int) -> None:
        self.known = known
        self._now_ms = now_ms
        self.changed: dict[bytes, State] = {}

    def check(self, draws: Iterable[Draw], rates: Iterable[Rate]) -> tuple[int, ...]:
        """Return what is used of each draw's budget; raise a :class:`LimitError` if one refuses."""
        for rate in rates:
            self._check_rate(rate)
        return tuple([self._check_draw(draw) for draw in draws])

    def take(self, draws: Iterable[Draw], rates: Iterable[Rate]) -> None:
        """Note what was allowed. A rate that is named twice counts one call all the same."""
        for name, rate in {state_key(rate): rate for rate in rates}.items():
            self.changed[name] = self._window(rate).counted()
        for draw in draws:
            name = _BUDGET + draw.key
            spent = self.changed.get(name) or self.known.get(name)
            if not isinstance(spent, Spent):
                if _is_over(draw, self._now_ms):
                    continue  # What is settled after its budget ended has nothing to settle with.
                spent = _UNSPENT
            after = spent.microusd + draw.amount_microusd
            if not 0 <= after <= _USED_MAX:
                after = 0 if after < 0 else _USED_MAX
            self.changed[name] = Spent(after, draw.until_ms or spent.until_ms)

    def _check_draw(self, draw: Draw) -> int:
        name = _BUDGET + draw.key
        spent = self.changed.get(name) or self.known.get(name)
        used = spent.microusd if isinstance(spent, Spent) else 0
        limit = draw.limit_microusd
        if limit is not None and used >= limit:
            raise AllowanceError(
                f"the budget of {draw.label} is used up: {used} of {limit} micro-USD",
                label=draw.label,
                used=used,
                limit=limit,
                retry_after_s=_seconds_until(draw.until_ms, self._now_ms),
            )
        return used

    def _check_rate(self, rate: Rate) -> None:
        window = self._window(rate)
        if window.total >= rate.limit:
            raise RateError(
                f"{rate.label} had {window.total} calls in sixty seconds, of {rate.limit}",
                label=rate.label,
                used=window.total,
                limit=rate.limit,
                retry_after_s=window.frees_in_s(rate.limit),
            )

    def _window(self, rate: Rate) -> Window:
        second = self._now_ms // 1000
        window = self._find(state_key(rate))
        return window.at(second) if isinstance(window, Window) else Window(second)

    def _find(self, name: bytes) -> State | None:
        found = self.changed.get(name)
        return self.known.get(name) if found is None else found


def _is_over(draw: Draw, now_ms: int) -> bool:
    return draw.until_ms is not None and draw.until_ms <= now_ms


def _seconds_until(until_ms: int | None, now_ms: int) -> int | None:
    return None if until_ms is None else max(1, -(-(until_ms - now_ms) // 1000))
