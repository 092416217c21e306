"""Alerts as records: one for each matter and time, whoever of several processes raises it.

The record's id follows from what it is about (``scope``) and the time it counts for, not from
what it says. Two processes that see the same thing at once say it in other words, perhaps: the
second is refused as a conflict, and that is how it learns that it is the second.
"""

from __future__ import annotations

import msgspec

from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.submission import Submission, seal_repeatably
from ledger_core.records.types.alert import ALERT_1, Alert

_SEED_TAG = b"ledgergrid/alert-seed@v1\n"


def seal_alert(
    origin: str, alert: Alert, scope: str, since_ms: int, operator: PrivateKey
) -> Submission:
    """Seal the one ``alert/1`` of the time that begins at ``since_ms``."""
    body = msgspec.json.encode(alert)
    seed = _SEED_TAG + msgspec.json.encode([origin, alert.type, scope, since_ms])
    return seal_repeatably(origin, ALERT_1.name, body, operator, since_ms, seed, part="alert")
