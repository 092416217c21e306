"""``key.rotation/1``: a key hands over to its successor. Both sign.

The old key signs the record, the new key its possession. The successor has the roles and the
member of the old one, which writes nothing from the next entry on.
"""

import msgspec

from ledger_core.errors import PayloadError
from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.possession import check_possession


class KeyRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    """The successor."""
    possession: str


def _rule(record: Record, payload: Payload) -> None:
    rotation: KeyRotation = payload["body"]
    if rotation.key == record.author:
        raise PayloadError("a key is not its own successor")
    check_possession(record.ledger, rotation.key, rotation.possession)


KEY_ROTATION_1 = RecordType(
    name="key.rotation/1",
    summary="A key hands over to its successor; both sign.",
    parts={"body": PartType(KeyRotation)},
    writers=frozenset({"operator", "steward", "agent"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
    rule=_rule,
)
