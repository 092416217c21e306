"""Named places at which a test may have the process killed, to show what a crash leaves behind.

``LEDGERGRID_FAIL_POINT=sequencer.before-commit`` kills the process with SIGKILL when it gets
there; ``sequencer.before-commit:3`` at the third time. Unset, a fail-point costs one look-up.
"""

from __future__ import annotations

import os
import signal

FAIL_POINTS = (
    "sequencer.locked",
    "sequencer.entries-stored",
    "sequencer.tiles-stored",
    "sequencer.checkpoint-stored",
    "sequencer.allowances-stored",
    "sequencer.before-commit",
    "sequencer.after-commit",
    "sequencer.after-memory",
    "follower.before-commit",
    "follower.after-commit",
    "exporter.recorded",
    "exporter.streaming",
    "ledgers.before-commit",
    "ledgers.after-commit",
    "keystore.before-commit",
    "keystore.after-commit",
)
"""On the way of a record."""

ANCHOR_FAIL_POINTS = ("anchorer.before-anchor", "anchorer.anchored", "anchorer.noted")
"""On the way of a closed ledger's root into its parent."""

EPOCH_FAIL_POINTS = ("epoch.before-commit", "epoch.after-commit", "epoch.after-memory")
"""On the way from an older backup to a new epoch."""

COSIGNER_FAIL_POINTS = ("cosigner.before-commit", "cosigner.after-commit")
"""On the way of another log's checkpoint."""

DESTRUCTION_FAIL_POINTS = ("keystore.before-destroyed", "keystore.destroyed")
"""On the way of a data key to its end."""

ERASER_FAIL_POINTS = (
    "eraser.noted",
    "eraser.keys-destroyed",
    "eraser.rows-deleted",
    "eraser.views-forgot",
    "eraser.views-scrubbed",
    "eraser.recorded",
)
"""On the way of an order to erase."""

PROXY_FAIL_POINTS = (
    "proxy.started",
    "proxy.answered",
    "proxy.relayed",
    "proxy.ended",
    "proxy.outbox-put",
    "proxy.outbox-delivered",
)
"""On the way of a call."""

_armed, _, _count = os.environ.get("LEDGERGRID_FAIL_POINT", "").partition(":")
_left = int(_count or 1)


def reach(name: str) -> None:
    """Die here, with no clean-up, if this fail-point is armed."""
    global _left
    if name != _armed:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
