"""``export/1``: an archive was handed out. An export is itself a record."""

from typing import Annotated

import msgspec

from ledger_core.errors import PayloadError
from ledger_core.formats.record import Count, Record
from ledger_core.records.model import NO_NUL, PartType, Payload, RecordType


class Export(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entries ``[start, end)`` went to ``recipient`` (the name of a token).

    ``end`` 0 means: up to and including this record.
    """

    start: Count
    end: Count
    recipient: Annotated[str, msgspec.Meta(max_length=200, pattern=NO_NUL)]


def _rule(record: Record, payload: Payload) -> None:
    export: Export = payload["body"]
    if export.end and export.start >= export.end:
        raise PayloadError("an export covers at least one entry")


def _row(payload: Payload) -> dict[str, str | int | None]:
    export: Export = payload["body"]
    return {"recipient": export.recipient}


EXPORT_1 = RecordType(
    name="export/1",
    summary="An archive was handed out: its range and its recipient.",
    parts={"body": PartType(Export)},
    writers=frozenset({"operator"}),
    rule=_rule,
    columns={"recipient": "text"},
    row=_row,
)
