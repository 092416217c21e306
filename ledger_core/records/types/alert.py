"""``alert/1``: the service saw something about calls that somebody asked to be told of.

Alerts that were raised are found by these entries. Who was told, and whether that arrived, is
not in them.
"""

from typing import Literal

import msgspec

from ledger_core.formats.record import Record
from ledger_core.records.calls import (
    COLUMNS,
    Name,
    Text,
    check_timestamp,
    make_row,
    name_subjects,
)
from ledger_core.records.model import PartType, Payload, RecordType

_COLUMNS = {name: COLUMNS[name] for name in ("action_id", "session_id", "agent_name")}

AlertKind = Literal[
    "high_cost", "high_latency", "high_error_rate", "daily_spend", "budget_exceeded"
]


class Alert(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """``value`` and ``threshold``: micro-USD, milliseconds, or a share of 1, as ``type`` says."""

    type: AlertKind
    message: Text
    timestamp: Name
    value: float
    threshold: float
    action_id: Name | None = None
    session_id: Name | None = None
    agent_name: Name | None = None


def _rule(record: Record, payload: Payload) -> None:
    check_timestamp(payload["alert"].timestamp)


def _subjects(payload: Payload) -> tuple[str, ...]:
    return name_subjects(None, payload["alert"].session_id)


ALERT_1 = RecordType(
    name="alert/1",
    summary="Something about calls went beyond a threshold that was set for it.",
    parts={"alert": PartType(Alert)},
    writers=frozenset({"operator"}),
    rule=_rule,
    columns=_COLUMNS,
    row=lambda payload: make_row(_COLUMNS, payload["alert"]),
    subjects=_subjects,
)
