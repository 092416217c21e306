"""``capture.stop/1``: no call is forwarded from here on, until a record lets them go on again.

Being a record, the switch survives every restart, and says who turned it and why.
"""

from typing import Literal

import msgspec

from ledger_core.records.calls import Text
from ledger_core.records.model import PartType, RecordType


class CaptureStop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    action: Literal["stop", "resume"]
    reason: Text = ""


CAPTURE_STOP_1 = RecordType(
    name="capture.stop/1",
    summary="Stops all calls, or lets them go on.",
    parts={"body": PartType(CaptureStop)},
    writers=frozenset({"operator", "steward"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
)
