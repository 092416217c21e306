"""C2SP tlog-witness: asking a witness for a cosignature, and its answers.

::

    old 20852014                                        the size the witness cosigned last
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=        consistency proof from there, up to
    …                                                   63 hashes
                                                        blank line
    example.com/behind-the-sofa                         a signed checkpoint
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npV…

A witness that agrees answers with signature lines, its cosignatures:

    — witness.example/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9…

one that cosigned another size last answers 409 with that size and a newline, as
``text/x.tlog.size``. Witnesses show the newest checkpoint they cosigned under
``<monitoring prefix>/<hex SHA-256 of the origin>/checkpoint``.

Source: https://c2sp.org/tlog-witness
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, TooLargeError
from ledger_core.formats.checkpoint import parse_checkpoint
from ledger_core.formats.note import (
    NoteSignature,
    format_signature_line,
    parse_note,
    parse_signature_line,
)
from ledger_core.merkle.tree import HASH_BYTES

SIZE_MEDIA_TYPE = "text/x.tlog.size"
_OLD = "old "


@dataclass(frozen=True)
class AddCheckpoint:
    """A signed checkpoint (a note's bytes), and a proof that it continues ``old_size``."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes


def format_add_checkpoint(request: AddCheckpoint) -> bytes:
    lines = [f"{_OLD}{request.old_size}", *map(ids.encode_base64, request.proof)]
    return "\n".join(lines).encode() + b"\n\n" + request.checkpoint


def parse_add_checkpoint(raw: bytes) -> AddCheckpoint:
    """Parse a request; its checkpoint is well-formed, and no signature was verified."""
    if len(raw) > limits.ADD_CHECKPOINT_BYTES:
        raise TooLargeError(f"request is larger than {limits.ADD_CHECKPOINT_BYTES} bytes")
    head, blank, checkpoint = raw.partition(b"\n\n")
    try:
        old, *proof = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise MalformedError("request is not ASCII before its checkpoint") from None
    if not old.startswith(_OLD) or not blank:
        raise MalformedError("request does not begin with 'old <size>' and end in a checkpoint")
    if len(proof) > limits.PROOF_HASHES:
        raise TooLargeError(f"request has more than {limits.PROOF_HASHES} hashes")
    parse_checkpoint(parse_note(checkpoint).text)
    hashes = tuple(ids.decode_base64(line, HASH_BYTES) for line in proof)
    return AddCheckpoint(ids.parse_decimal(old.removeprefix(_OLD)), hashes, checkpoint)


def format_cosignatures(signatures: tuple[NoteSignature, ...]) -> bytes:
    """Format a witness's answer: one signature line or more."""
    return b"".join(map(format_signature_line, signatures))


def parse_cosignatures(raw: bytes) -> tuple[NoteSignature, ...]:
    """Parse a witness's answer; no signature was verified."""
    if len(raw) > limits.COSIGNATURES_BYTES:
        raise TooLargeError(f"answer is larger than {limits.COSIGNATURES_BYTES} bytes")
    try:
        *lines, last = raw.decode().split("\n")
    except UnicodeDecodeError:
        raise MalformedError("answer is not UTF-8") from None
    if last or not lines:
        raise MalformedError("answer is not one or more signature lines")
    if len(lines) > limits.NOTE_SIGNATURES:
        raise TooLargeError(f"answer has more than {limits.NOTE_SIGNATURES} signatures")
    return tuple(map(parse_signature_line, lines))


def format_size(size: int) -> bytes:
    """Format the body of a 409: the size that the witness cosigned last."""
    return b"%d\n" % size


def parse_size(raw: bytes) -> int:
    """Parse the body of a 409."""
    if not raw.endswith(b"\n") or not raw.isascii():
        raise MalformedError("answer is not a size and a newline")
    return ids.parse_decimal(raw[:-1].decode())


def origin_digest(origin: str) -> str:
    """Return the name of a log in a witness's monitoring paths."""
    return sha256(origin.encode()).hexdigest()
