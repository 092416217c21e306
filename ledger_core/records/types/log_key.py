"""``log.key/1``: the log signs its checkpoints with another key from here on.

The old log key signs the new one, so whoever trusts the old key can go on without being
told anything from elsewhere; the new one signs as well, to show that it is held.
A log that is named by its key has that key for ever.
"""

from collections.abc import Iterable

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError, PayloadError, SignatureError
from ledger_core.formats import ed25519
from ledger_core.formats.record import Record
from ledger_core.formats.vkey import LogKey, check_named_by_key, format_vkey, parse_vkey
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
    check_handover(record.ledger, change)


def check_handover(origin: str, change: LogKeyChange) -> LogKey:
    """Return the log's next key; raise :class:`PayloadError` unless both keys signed for it.

    Whoever trusts the old key needs nothing else to trust the new one.
    """
    message = handover_message(origin, change.old, change.new)
    keys: list[LogKey] = []
    try:
        for vkey, signature in ((change.old, change.by_old), (change.new, change.by_new)):
            key = parse_vkey(vkey)
            if not isinstance(key, LogKey) or key.name != origin:
                raise PayloadError("log key is not a log's vkey named like the ledger's origin")
            blob = ids.decode_base64url(signature, ed25519.SIGNATURE_BYTES)
            check_named_by_key(key)
            ed25519.verify(key.public_key, message, blob)
            keys.append(key)
    except (MalformedError, SignatureError) as error:
        raise PayloadError(f"log key: {error}") from None
    if change.old == change.new:
        raise PayloadError("log key: a key is not its own successor")
    return keys[1]


def follow_handovers(trusted: LogKey, changes: Iterable[LogKeyChange]) -> LogKey:
    """Return the key that a trusted one has handed over to, in so many steps as are told in order.

    What another key hands over is passed by: it may have come before, and says nothing of trust.
    """
    for change in changes:
        if change.old == format_vkey(trusted):
            trusted = check_handover(trusted.name, change)
    return trusted


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
