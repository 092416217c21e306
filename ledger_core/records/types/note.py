"""``note/1``: any JSON an agent wants on the record.

An object with a string ``subject`` is about that: it is found again by it.
"""

from typing import Any

from ledger_core.records.model import PartType, Payload, RecordType


def _subjects(payload: Payload) -> tuple[str, ...]:
    body = payload["body"]
    subject = body.get("subject") if isinstance(body, dict) else None
    return (subject,) if isinstance(subject, str) else ()


NOTE_1 = RecordType(
    name="note/1",
    summary="Any JSON value.",
    parts={"body": PartType(Any)},
    writers=frozenset({"agent", "operator"}),
    subjects=_subjects,
)
