"""``erasure.done/1``: what was ordered to be destroyed is destroyed here, and what else to know.

It names no more than the service can answer for: the stores it cleaned, how long a backup may
still hold a key, and who was given an archive that may hold the parts.
"""

from typing import Annotated

import msgspec

from ledger_core import clock, ids
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Count, Record
from ledger_core.records.model import NO_NUL, PartType, Payload, RecordType
from ledger_core.records.rules import LeafHash

StoreName = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=NO_NUL)]


class ErasureDone(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """``order``: leaf hash of the ``erasure/1`` or ``retention/1``. ``parts``: destroyed by it.

    ``backups_until``: when the last backup of the key store that holds a key is gone, if the
    operator says. ``exports``: record ids of earlier exports whose range reaches a part.
    """

    order: LeafHash
    parts: Count
    stores: Annotated[tuple[StoreName, ...], msgspec.Meta(min_length=1, max_length=16)]
    backups_until: str | None = None
    exports: Annotated[tuple[str, ...], msgspec.Meta(max_length=1_000)] = ()
    exports_left_out: Count = 0
    """Exports beyond those named."""


def _rule(record: Record, payload: Payload) -> None:
    done: ErasureDone = payload["body"]
    try:
        ids.parse_digest(done.order)
        for export in done.exports:
            ids.parse_record_id(export)
        if done.backups_until is not None:
            clock.parse_time(done.backups_until)
    except MalformedError as error:
        raise PayloadError(f"erasure done: {error}") from None


ERASURE_DONE_1 = RecordType(
    name="erasure.done/1",
    summary="Says that an ordered erasure is done, and where.",
    parts={"body": PartType(ErasureDone)},
    writers=frozenset({"operator"}),
    is_governance=True,
    rule=_rule,
)
