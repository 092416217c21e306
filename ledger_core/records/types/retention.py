"""``retention/1``: the order to destroy parts whose time is up.

Its authority is the ``keep_s`` in force for the type and part; the log's own times decide.
It reaches every entry of the type before it, received before ``received_before``, but those
that are held where it lies.
"""

import msgspec

from ledger_core import clock
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Record, check_type_name
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.rules import PartName, TypeName


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: TypeName
    part: PartName
    received_before: str


def _rule(record: Record, payload: Payload) -> None:
    retention: Retention = payload["body"]
    try:
        check_type_name(retention.type)
        clock.parse_time(retention.received_before)
    except MalformedError as error:
        raise PayloadError(f"retention: {error}") from None


RETENTION_1 = RecordType(
    name="retention/1",
    summary="Orders a part of all entries of a type to be destroyed whose time is up.",
    parts={"body": PartType(Retention)},
    writers=frozenset({"operator"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
    rule=_rule,
)
