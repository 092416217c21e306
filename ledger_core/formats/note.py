"""C2SP signed-note: a text, a blank line, and signature lines.

::

    example.com/log                                     the text: one or more lines,
    5                                                   ending in a newline
    qINS1GRFhWHwdkUeqLEoP4yEMkTBBzxBkGwGQlVlVcs=
                                                        the last blank line splits
    — example.com/log M9ae+AAAAA…                       em dash, name, base64 of
                                                        4-byte key id and signature

A signature covers the text with its final newline, without the blank line. Lines by
unknown keys are ignored; a line by a known key that does not verify sinks the note.

Source: https://c2sp.org/signed-note
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, SignatureError, TooLargeError

_DASH = "— "
_NOT_IN_NAMES = re.compile(r"[+\s\x00-\x1f\ud800-\udfff]")
_NOT_IN_TEXTS = re.compile(r"[\x00-\x09\x0b-\x1f]")
KEY_ID_BYTES = 4


@dataclass(frozen=True)
class NoteSignature:
    """One signature line; ``blob`` is what follows the key id, its form up to the algorithm."""

    name: str
    key_id: bytes
    blob: bytes


@dataclass(frozen=True)
class Note:
    """A text ending in a newline, and the signature lines below it, verified or not."""

    text: bytes
    signatures: tuple[NoteSignature, ...]


class Verifier(Protocol):
    """A public key that can verify signature lines."""

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> bytes: ...

    def verify(self, text: bytes, blob: bytes) -> None:
        """Raise :class:`SignatureError` unless ``blob`` is this key's over ``text``."""


class Signer(Protocol):
    """A private key that makes signature lines."""

    def sign(self, text: bytes) -> NoteSignature: ...


V = TypeVar("V", bound=Verifier)


def check_key_name(name: str) -> None:
    """Raise unless ``name`` may name a key: not empty, no space, no ``+``."""
    if not name or _NOT_IN_NAMES.search(name):
        raise MalformedError(f"key name {name[:80]!r} must have no space and no '+'")


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise MalformedError("note text does not end in a newline")
    if _NOT_IN_TEXTS.search(text):
        raise MalformedError("note has a control character")


def format_signature_line(signature: NoteSignature) -> bytes:
    encoded = ids.encode_base64(signature.key_id + signature.blob)
    return f"{_DASH}{signature.name} {encoded}\n".encode()


def parse_signature_line(line: str) -> NoteSignature:
    """Parse one line without its newline."""
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise MalformedError(f"signature line {line[:80]!r} is not '— name base64'")
    check_key_name(name)
    raw = ids.decode_base64(encoded)
    if len(raw) <= KEY_ID_BYTES:
        raise MalformedError("signature line has no signature after its key id")
    return NoteSignature(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])


def format_note(note: Note) -> bytes:
    lines = b"".join(format_signature_line(each) for each in note.signatures)
    return note.text + b"\n" + lines


def parse_note(raw: bytes) -> Note:
    """Split a note into text and signature lines; no signature is verified here."""
    if len(raw) > limits.NOTE_BYTES:
        raise TooLargeError(f"note is larger than {limits.NOTE_BYTES} bytes")
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        raise MalformedError("note is not UTF-8") from None
    _check_text(whole)
    text, blank, below = whole.rpartition("\n\n")
    lines = below.split("\n")[:-1]
    if not blank or not lines:
        raise MalformedError("note has no signature lines after a blank line")
    if len(lines) > limits.NOTE_SIGNATURES:
        raise TooLargeError(f"note has more than {limits.NOTE_SIGNATURES} signatures")
    return Note(f"{text}\n".encode(), tuple(parse_signature_line(line) for line in lines))


def verify_note(note: Note, verifiers: Sequence[V]) -> list[V]:
    """Return the distinct verifiers that signed ``note``, in their own order.

    Raises :class:`SignatureError` if a known key's line does not verify. An empty
    answer means that nobody known signed: the caller must refuse.
    """
    known = {(v.name, v.key_id): v for v in verifiers}
    if len(known) != len(verifiers):
        # Key ids are short enough to be made alike: one line must not count for two keys.
        raise SignatureError("two of the known keys share a name and a key id")
    signed = set()
    for line in note.signatures:
        verifier = known.get((line.name, line.key_id))
        if verifier is not None:
            verifier.verify(note.text, line.blob)
            signed.add((line.name, line.key_id))
    return [v for v in verifiers if (v.name, v.key_id) in signed]


def verify_signed_by(note: Note, verifier: Verifier) -> None:
    """Raise :class:`SignatureError` unless ``verifier`` signed ``note``."""
    if not verify_note(note, [verifier]):
        raise SignatureError(f"no signature by {verifier.name}")
