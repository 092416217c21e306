"""C2SP tlog-checkpoint: a log's size and root, in a signed note.

::

    ledgergrid.example/log1                             origin
    70000                                               size, decimal
    o5IPun8jmgcam9EHIfE0Gt3vuu3ttBx+JEN6nRa98Ao=        root, base64

    — ledgergrid.example/log1 xh4PpdXK…                 the log's signature, cosignatures

No extension lines: a line after the root is refused, as real witnesses do.

Source: https://c2sp.org/tlog-checkpoint
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger_core import ids
from ledger_core.errors import MalformedError
from ledger_core.formats.note import (
    Note,
    Signer,
    Verifier,
    format_note,
    parse_note,
    verify_signed_by,
)


@dataclass(frozen=True)
class Checkpoint:
    """A tree's state: ``size`` leaves under ``root`` in the log called ``origin``."""

    origin: str
    size: int
    root: bytes


def format_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Format the text a log signs."""
    root = ids.encode_base64(checkpoint.root)
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n".encode()


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Parse a checkpoint's text (without blank line and signatures)."""
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise MalformedError("checkpoint is not ASCII") from None
    if len(lines) != 4 or lines[3]:
        raise MalformedError("checkpoint is not three lines: origin, size, root")
    ids.check_origin(lines[0])
    return Checkpoint(lines[0], ids.parse_decimal(lines[1]), ids.decode_base64(lines[2], 32))


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """Return the signed note; the same checkpoint always gives the same bytes."""
    text = format_checkpoint(checkpoint)
    return format_note(Note(text, (signer.sign(text),)))


def verify_checkpoint(raw: bytes, key: Verifier) -> Checkpoint:
    """Return the checkpoint in a note signed by ``key`` for the origin of the key's name."""
    note = parse_note(raw)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != key.name:
        raise MalformedError(f"checkpoint is of {checkpoint.origin}, not of {key.name}")
    verify_signed_by(note, key)
    return checkpoint
