"""Records that the service writes of erasures, alike from whichever process they come."""

from __future__ import annotations

import msgspec

from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.submission import Submission, seal_repeatably
from ledger_core.records.types.erasure_done import ERASURE_DONE_1, ErasureDone

_SEED_TAG = b"ledgergrid/erasure-done-seed@v1\n"


def seal_done(origin: str, done: ErasureDone, at_ms: int, operator: PrivateKey) -> Submission:
    """Seal the ``erasure.done/1`` of an order that took effect at ``at_ms``.

    Its id follows from the order and nothing else: a second one is no second entry.
    """
    body = msgspec.json.encode(done)
    seed = _SEED_TAG + origin.encode() + b"\n" + done.order.encode()
    return seal_repeatably(origin, ERASURE_DONE_1.name, body, operator, at_ms, seed)
