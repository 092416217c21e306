"""``withdrawal/1``: takes a proposal back while it is open."""

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType


class Withdrawal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    proposal: str
    """Leaf hash, ``sha256:…``."""


def _rule(record: Record, payload: Payload) -> None:
    try:
        ids.parse_digest(payload["body"].proposal)
    except MalformedError as error:
        raise PayloadError(f"withdrawal: {error}") from None


WITHDRAWAL_1 = RecordType(
    name="withdrawal/1",
    summary="Takes a proposal back while it is open.",
    parts={"body": PartType(Withdrawal)},
    writers=frozenset({"operator", "steward", "agent"}),
    is_governance=True,
    rule=_rule,
)
