"""``charter/1``: the first entry of a ledger. Its leaf hash is the ledger's identity.

It names the origin, the kind of ledger, the log's own key and the founding keys. It is
signed by one of the founding operators.
"""

from typing import Annotated, Literal

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError, PayloadError, SignatureError
from ledger_core.formats import ed25519
from ledger_core.formats.record import Record
from ledger_core.formats.vkey import LogKey, parse_vkey
from ledger_core.records.model import PartType, Payload, RecordType, Role

Kind = Literal["public", "private", "consortium", "local"]


class FoundingKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that stands from the first entry on."""

    key: str
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1, max_length=2)]


class Charter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    origin: str
    kind: Kind
    log_key: str
    """vkey of the log (type 0x01), named like the origin."""
    keys: Annotated[tuple[FoundingKey, ...], msgspec.Meta(min_length=1, max_length=1000)]


def _rule(record: Record, payload: Payload) -> None:
    charter: Charter = payload["body"]
    try:
        log_key = parse_vkey(charter.log_key)
        for founding in charter.keys:
            ed25519.check_public_key(ids.parse_key(founding.key))
    except (MalformedError, SignatureError) as error:
        raise PayloadError(f"charter: {error}") from None
    if not isinstance(log_key, LogKey) or log_key.name != charter.origin:
        raise PayloadError("charter's log_key is not a log's vkey named like its origin")
    if charter.origin != record.ledger:
        raise PayloadError("charter's origin is not the ledger it is meant for")
    if len({founding.key for founding in charter.keys}) != len(charter.keys):
        raise PayloadError("charter names a key twice")
    if any(len(set(founding.roles)) != len(founding.roles) for founding in charter.keys):
        raise PayloadError("charter names a role of a key twice")
    author = [f for f in charter.keys if f.key == record.author]
    if not author or "operator" not in author[0].roles:
        raise PayloadError("a charter is signed by one of its founding operators")


CHARTER_1 = RecordType(
    name="charter/1",
    summary="Founds a ledger: origin, kind, log key, founding keys. Always entry 0.",
    parts={"body": PartType(Charter)},
    writers=frozenset({"operator"}),
    audience="public",
    is_governance=True,
    rule=_rule,
)
