"""Names of things, as text: ids, keys, digests, origins. Each parses only what it formats.

>>> format_digest(bytes(32))
'sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
"""

from __future__ import annotations

import binascii
import re
import uuid
from functools import lru_cache

import uuid_utils

from ledger_core import limits
from ledger_core.errors import MalformedError

DIGEST_PREFIX = "sha256:"
KEY_PREFIX = "ed25519:"

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_LEDGER_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ORIGIN = re.compile(r"[!-*,-~]+")
# 43 digits hold 258 bits: the last two mean nothing, and must be zero.
_DIGEST = re.compile(r"sha256:[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_URLSAFE, _STANDARD = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")
"""What makes the one alphabet of the other; named by what they take."""
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_EPOCH = re.compile(r"(.+)/epoch/([1-9][0-9]{0,3})")


def new_record_id() -> str:
    """Make a UUIDv7 (RFC 9562 section 5.7), fresh and roughly ordered by time."""
    return str(uuid_utils.uuid7())


def make_record_id(at_ms: int, random: bytes) -> str:
    """Make a UUIDv7 of a time and ten bytes."""
    raw = bytearray(at_ms.to_bytes(6) + random)
    raw[6] = raw[6] & 0x0F | 0x70
    raw[8] = raw[8] & 0x3F | 0x80
    return format_record_id(bytes(raw))


def parse_record_id(text: str) -> bytes:
    """Return the 16 bytes of a lower-case UUIDv7."""
    if not _UUID7.fullmatch(text):
        raise MalformedError(f"id {text[:60]!r} is not a lower-case UUIDv7")
    return bytes.fromhex(text.replace("-", ""))


def format_record_id(raw: bytes) -> str:
    return str(uuid.UUID(bytes=raw))


def encode_base64(raw: bytes) -> str:
    """Encode with padding (RFC 4648 section 4), as C2SP text formats do."""
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def decode_base64(text: str, length: int | None = None) -> bytes:
    """Decode padded base64, of exactly ``length`` bytes if given; refuse any second spelling."""
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise MalformedError(f"{text[:60]!r} is not base64") from None
    # Formatted again, because the last digit may hold bits that mean nothing.
    if (length is not None and len(raw) != length) or encode_base64(raw) != text:
        raise MalformedError(f"{text[:60]!r} is not base64 of {length} bytes")
    return raw


def encode_base64url(raw: bytes) -> str:
    """Encode without padding (RFC 4648 section 5)."""
    return binascii.b2a_base64(raw, newline=False).translate(_STANDARD).rstrip(b"=").decode("ascii")


def decode_base64url(text: str, length: int) -> bytes:
    """Decode unpadded base64url of exactly ``length`` bytes; refuse any second spelling."""
    try:
        standard = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        raw = binascii.a2b_base64(standard, strict_mode=True)
    except ValueError:
        raw = b""
    if len(raw) != length or encode_base64url(raw) != text:
        raise MalformedError(f"{text[:60]!r} is not base64url of {length} bytes without padding")
    return raw


def format_digest(digest: bytes) -> str:
    return DIGEST_PREFIX + encode_base64url(digest)


def check_digest(text: str) -> None:
    """Raise for what :func:`parse_digest` refuses; twice as fast."""
    if not _DIGEST.fullmatch(text):
        raise MalformedError(f"digest {text[:60]!r} is not {DIGEST_PREFIX} and base64url")


def parse_digest(text: str) -> bytes:
    """Return the 32 bytes of ``sha256:<base64url>``."""
    check_digest(text)  # That there is no second spelling: so nothing needs to be formatted again.
    return binascii.a2b_base64(text[len(DIGEST_PREFIX) :].encode().translate(_URLSAFE) + b"=")


def format_key(public_key: bytes) -> str:
    return KEY_PREFIX + encode_base64url(public_key)


@lru_cache(maxsize=16_384)
def parse_key(text: str) -> bytes:
    """Return the 32 bytes of ``ed25519:<base64url>``; the point itself is not judged here."""
    if not text.startswith(KEY_PREFIX):
        raise MalformedError(f"key {text[:60]!r} does not begin with {KEY_PREFIX}")
    return decode_base64url(text[len(KEY_PREFIX) :], 32)


def parse_decimal(text: str) -> int:
    """Parse a non-negative decimal below 2**63: ASCII digits, no sign, no leading zero."""
    if not _DECIMAL.fullmatch(text) or int(text) >= 2**63:
        raise MalformedError(f"{text[:40]!r} is not a decimal number without leading zeros")
    return int(text)


def check_ledger_name(text: str) -> None:
    """Raise unless ``text`` can name a ledger in URLs: a DNS label in lower case."""
    if not _LEDGER_NAME.fullmatch(text):
        raise MalformedError(
            f"ledger name {text[:80]!r} must be 1 to 63 of a-z, 0-9 and '-', not at its ends"
        )


@lru_cache(maxsize=1024)
def check_origin(text: str) -> None:
    """Raise unless ``text`` can be an origin (C2SP tlog-checkpoint)."""
    if len(text) > limits.ORIGIN_CHARS or not _ORIGIN.fullmatch(text):
        raise MalformedError(f"origin {text[:80]!r} must be ASCII without space and '+'")


def parse_epoch(origin: str) -> tuple[str, int]:
    """Return the origin a ledger was founded with, and the number of the epoch; the first is 1.

    >>> parse_epoch("ledger.example/a/epoch/3")
    ('ledger.example/a', 3)
    """
    found = _EPOCH.fullmatch(origin)
    if found is None or found[2] == "1":
        return origin, 1
    return found[1], int(found[2])


def format_epoch(founded: str, number: int) -> str:
    """Return the origin of a ledger's epoch; raise if it can be none."""
    origin = founded if number == 1 else f"{founded}/epoch/{number}"
    check_origin(origin)
    if parse_epoch(origin) != (founded, number):
        raise MalformedError(f"{founded[:80]!r} cannot have an epoch {number}")
    return origin


def are_of_one_ledger(*origins: str) -> bool:
    """Say whether these are origins of one ledger, in whichever epochs."""
    return len({parse_epoch(origin)[0] for origin in origins}) == 1


def is_origin_up_to(origin: str, newest: str) -> bool:
    """Say whether ``origin`` is ``newest``, or that of an earlier epoch of the same ledger."""
    number = parse_epoch(origin)[1]
    return are_of_one_ledger(origin, newest) and number <= parse_epoch(newest)[1]
