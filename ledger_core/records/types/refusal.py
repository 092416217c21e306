"""``refusal/1``: a change that somebody asked for and was not allowed.

Written by the service for authors whose key stands. It is its word: a verifier cannot tell
whether a refusal that is not there ought to be.
"""

from typing import Annotated

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Record, check_type_name
from ledger_core.records.model import PartType, Payload, RecordType
from ledger_core.records.rules import LeafHash, TypeName

Code = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[a-z][a-z-]{0,63}$(?!\n)")]


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``record``: SHA-256 of the refused record's bytes. ``code``: the error's."""

    record: LeafHash
    type: TypeName
    author: str
    code: Code


def _rule(record: Record, payload: Payload) -> None:
    refusal: Refusal = payload["body"]
    try:
        ids.parse_digest(refusal.record)
        check_type_name(refusal.type)
        ids.parse_key(refusal.author)
    except MalformedError as error:
        raise PayloadError(f"refusal: {error}") from None


REFUSAL_1 = RecordType(
    name="refusal/1",
    summary="A change that was asked for and refused.",
    parts={"body": PartType(Refusal)},
    writers=frozenset({"operator"}),
    is_governance=True,
    rule=_rule,
)
