"""``note/1``: any JSON an agent wants on the record."""

from typing import Any

from ledger_core.records.model import PartType, RecordType

NOTE_1 = RecordType(
    name="note/1",
    summary="Any JSON value.",
    parts={"body": PartType(Any)},
    writers=frozenset({"agent", "operator"}),
)
