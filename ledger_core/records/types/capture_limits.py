"""``capture.limits/1``: what calls through this ledger may cost, how many, and to whom.

Each record is the whole set; the newest in force counts. A field that is left out is what the
service was started with; ``null`` lifts that limit, and an empty list that list.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from ledger_core.formats.record import Count
from ledger_core.records.calls import Name
from ledger_core.records.model import PartType, RecordType

Globs = Annotated[tuple[Name, ...], msgspec.Meta(max_length=1_000)]
"""Names of models or providers; ``*`` in one stands for any characters."""

Budget = Count | None | UnsetType
"""Micro-USD."""
Rate = Count | None | UnsetType
"""Requests in any sixty seconds."""


class CaptureLimits(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """``budget_daily_microusd`` is of all calls, as ``rpm_total`` is.

    Those of a session are for its lifetime, those of an agent, user or credential for a day
    (UTC). ``budget_action``: what follows when a budget is used up.
    """

    budget_session_microusd: Budget = UNSET
    budget_agent_microusd: Budget = UNSET
    budget_user_microusd: Budget = UNSET
    budget_credential_microusd: Budget = UNSET
    budget_daily_microusd: Budget = UNSET
    budget_action: Literal["block", "warn", "both"] | UnsetType = UNSET
    rpm_total: Rate = UNSET
    rpm_session: Rate = UNSET
    rpm_agent: Rate = UNSET
    rpm_user: Rate = UNSET
    allow_models: Globs | UnsetType = UNSET
    deny_models: Globs | UnsetType = UNSET
    allow_providers: Globs | UnsetType = UNSET
    deny_providers: Globs | UnsetType = UNSET
    refuse_unpriced: bool | UnsetType = UNSET

    def over(self, settings: CaptureLimits) -> CaptureLimits:
        """Return these limits, and where one is left out that of ``settings``."""
        named = {name: getattr(self, name) for name in self.__struct_fields__}
        own = {name: value for name, value in named.items() if value is not UNSET}
        return msgspec.structs.replace(settings, **own)


NO_LIMITS = CaptureLimits()

CAPTURE_LIMITS_1 = RecordType(
    name="capture.limits/1",
    summary="Sets what calls may cost, how many there may be, and which models may be called.",
    parts={"body": PartType(CaptureLimits)},
    writers=frozenset({"operator", "steward"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
)
