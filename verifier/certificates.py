"""Checks a certificate of erasure offline, with nothing but the file and the keys one trusts."""

from __future__ import annotations

from pathlib import Path

from ledger_core import clock, limits
from ledger_core.errors import ProofError, SettingsError, TooLargeError
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.trust_policy import TrustPolicy, verify_trusted
from ledger_core.policy.certificate import Proved, check_certificate, parse_certificate


def verify_certificate(raw: bytes, policy: TrustPolicy) -> list[Proved]:
    """Return what a certificate proves under a trust policy; raise what is wrong with it."""

    def checkpoint_of(note: bytes) -> Checkpoint:
        trusted = verify_trusted(note, policy)
        if not trusted.quorum_met:
            raise ProofError("a checkpoint has not the witnesses that the trust policy asks for")
        return trusted.checkpoint

    return check_certificate(parse_certificate(raw), checkpoint_of)


def read_certificate(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(limits.CERTIFICATE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > limits.CERTIFICATE_BYTES:
        raise TooLargeError(f"{path} is larger than {limits.CERTIFICATE_BYTES} bytes")
    return raw


def describe(proved: Proved) -> list[str]:
    """Say in words what one order came to."""
    lines = [
        f"ledger    {proved.origin}",
        f"ordered   entry {proved.order}, {clock.format_time(proved.ordered_at)}, "
        f"reason: {proved.reason}, {proved.entries} entries named",
        f"done      entry {proved.done}, {clock.format_time(proved.done_at)}: "
        f"{proved.parts} parts destroyed in {', '.join(proved.stores)}",
    ]
    if proved.backups_until is not None:
        lines.append(f"backups   none holds a key after {proved.backups_until}")
    if proved.exports:
        lines.append(f"exports   {proved.exports} earlier archives may still hold them")
    return lines
