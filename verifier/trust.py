"""What the user brings: the trust policy and kept receipts and checkpoints, from files.

Nothing in an archive is ever read from here: trust comes from the command line alone.
"""

from __future__ import annotations

from pathlib import Path

from ledger_core import limits
from ledger_core.errors import SettingsError, TooLargeError
from ledger_core.formats.trust_policy import TrustPolicy, parse_trust_policy
from verifier.evidence import Kept, parse_kept_checkpoint, parse_kept_receipt


def read_policy(path: Path) -> TrustPolicy:
    """Read a C2SP tlog-policy file."""
    return parse_trust_policy(_read(path))


def read_receipt(path: Path) -> Kept:
    """Read a receipt (C2SP tlog-proof) that someone kept."""
    return parse_kept_receipt(path.name, _read(path))


def read_checkpoint(path: Path) -> Kept:
    """Read a signed checkpoint that someone kept."""
    return parse_kept_checkpoint(path.name, _read(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limits.NOTE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > limits.NOTE_BYTES:
        raise TooLargeError(f"{path} is larger than {limits.NOTE_BYTES} bytes")
    return data
