"""``log.key/1``: the log signs its checkpoints with another key from here on.

The old log key signs the new one, so whoever trusts the old key can go on without being
told anything from elsewhere; the new one signs as well, to show that it is held.
"""

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError, PayloadError, SignatureError
from ledger_core.formats import ed25519
from ledger_core.formats.record import Record
from ledger_core.formats.vkey import LogKey, parse_vkey
from ledger_core.records.model import PartType, Payload, RecordType


class LogKeyChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """vkeys of type 0x01, named like the origin; signatures are base64url."""

    old: str
    new: str
    by_old: str
    by_new: str


def handover_message(origin: str, old: str, new: str) -> bytes:
    """Return what both log keys sign."""
    return f"ledgergrid/log-key-handover@v1\n{origin}\n{old}\n{new}\n".encode()


def _rule(record: Record, payload: Payload) -> None:
    change: LogKeyChange = payload["body"]
    message = handover_message(record.ledger, change.old, change.new)
    try:
        for vkey, signature in ((change.old, change.by_old), (change.new, change.by_new)):
            key = parse_vkey(vkey)
            if not isinstance(key, LogKey) or key.name != record.ledger:
                raise PayloadError("log key is not a log's vkey named like the ledger's origin")
            blob = ids.decode_base64url(signature, ed25519.SIGNATURE_BYTES)
            ed25519.verify(key.public_key, message, blob)
    except (MalformedError, SignatureError) as error:
        raise PayloadError(f"log key: {error}") from None
    if change.old == change.new:
        raise PayloadError("log key: a key is not its own successor")


LOG_KEY_1 = RecordType(
    name="log.key/1",
    summary="The log's own key hands over to its successor; both sign.",
    parts={"body": PartType(LogKeyChange)},
    writers=frozenset({"operator"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
    rule=_rule,
)
