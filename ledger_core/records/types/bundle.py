"""``bundle/1``: joins open proposals, so that they are confirmed together or not at all.

From here on the bundle is what is endorsed. Each proposal keeps its own policy; the bundle
ends with the first of them, and one outcome is the outcome of all.
"""

from typing import Annotated

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Record
from ledger_core.records.model import PartType, Payload, RecordType


class Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    proposals: Annotated[
        tuple[str, ...], msgspec.Meta(min_length=2, max_length=limits.BUNDLE_RECORDS)
    ]
    """Leaf hashes, ``sha256:…``."""


def _rule(record: Record, payload: Payload) -> None:
    bundle: Bundle = payload["body"]
    if len(set(bundle.proposals)) != len(bundle.proposals):
        raise PayloadError("a bundle names a proposal twice")
    try:
        for each in bundle.proposals:
            ids.parse_digest(each)
    except MalformedError as error:
        raise PayloadError(f"bundle: {error}") from None


BUNDLE_1 = RecordType(
    name="bundle/1",
    summary="Joins open proposals: confirmed together or not at all.",
    parts={"body": PartType(Bundle)},
    writers=frozenset({"operator", "steward", "agent"}),
    is_governance=True,
    rule=_rule,
)
