"""Money as integer micro-USD, always rounded up: what was paid is never told as less."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final

from ledger_core import limits
from ledger_core.llm.loading import Object, number, obj

MICRO: Final = 1_000_000


def microusd(usd: Decimal) -> int:
    """Round up to whole micro-USD; what costs anything costs at least one."""
    return math.ceil(usd * MICRO)


def billed(usage: Object) -> int | None:
    """What the provider says this call cost; None if it does not say.

    OpenRouter: ``cost`` is what it charges; with a key of one's own (``is_byok``) the upstream
    provider charges ``upstream_inference_cost`` on top.
    """
    cost = _usd(usage.get("cost"))
    if cost is None:
        return None
    if usage.get("is_byok") is True:
        details = obj(usage.get("cost_details"))
        cost += _usd(details.get("upstream_inference_cost")) or Decimal(0)
    return microusd(cost)


def _usd(value: Any) -> Decimal | None:
    told = number(value)
    if told is None or told < 0 or told * MICRO > limits.MAX_INTEGER:
        return None
    # repr gives the shortest digits that mean this float: the ones that were sent.
    return Decimal(repr(told))
