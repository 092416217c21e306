"""The entry: a signed record in its place. Its bytes are the leaf of the Merkle tree.

::

    ledgergrid/entry@v1                                 format
    ledgergrid.example/log1                             origin
    41                                                  index = leaf position
    yZ0p…=                                              leaf hash of the entry before, base64
    2026-08-01T10:11:12.400Z                            time received, never decreasing
    3q2+7w…=                                            the author's signature, base64
                                                        blank line
    {"author":"ed25519:…",…}                            the record's bytes, verbatim

Entry 0 names 32 zero bytes as the leaf hash before it.
"""

from __future__ import annotations

import msgspec

from ledger_core import clock, ids, limits
from ledger_core.errors import MalformedError, TooLargeError
from ledger_core.formats.ed25519 import SIGNATURE_BYTES
from ledger_core.formats.record import SignedRecord, parse_record

FORMAT = "ledgergrid/entry@v1"
NO_PREVIOUS = bytes(32)
_HEADER_LINES = 6


class Header(msgspec.Struct, frozen=True):
    """What the ledger adds to a record to give it its place; ``received_at`` is in ms."""

    origin: str
    index: int
    previous: bytes
    received_at: int
    signature: bytes


class Entry(msgspec.Struct, frozen=True):
    """A header and the record bytes below it."""

    header: Header
    record: bytes

    def signed_record(self) -> SignedRecord:
        """Parse the record; its signature is not verified here."""
        return SignedRecord(parse_record(self.record), self.record, self.header.signature)


def format_header(header: Header) -> bytes:
    """Format the header with its closing blank line: all of the leaf but the record."""
    return (
        f"{FORMAT}\n{header.origin}\n{header.index}\n{ids.encode_base64(header.previous)}\n"
        f"{clock.format_time(header.received_at)}\n{ids.encode_base64(header.signature)}\n\n"
    ).encode("ascii")


def parse_header(raw: bytes) -> Header:
    """Parse a header with its closing blank line."""
    try:
        lines = raw.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise MalformedError("entry header is not ASCII") from None
    if len(lines) != _HEADER_LINES + 2 or lines[_HEADER_LINES:] != ["", ""] or lines[0] != FORMAT:
        raise MalformedError(f"entry does not begin with {FORMAT} and five more lines")
    ids.check_origin(lines[1])
    return Header(
        origin=lines[1],
        index=ids.parse_decimal(lines[2]),
        previous=ids.decode_base64(lines[3], 32),
        received_at=clock.parse_time(lines[4]),
        signature=ids.decode_base64(lines[5], SIGNATURE_BYTES),
    )


def format_entry(entry: Entry) -> bytes:
    """Format the leaf."""
    leaf = format_header(entry.header) + entry.record
    if len(leaf) > limits.ENTRY_BYTES:
        raise TooLargeError(f"entry is {len(leaf)} bytes, more than {limits.ENTRY_BYTES}")
    return leaf


def parse_entry(leaf: bytes) -> Entry:
    """Split a leaf into header and record bytes; the record is parsed on demand."""
    if len(leaf) > limits.ENTRY_BYTES:
        raise TooLargeError(f"entry is {len(leaf)} bytes, more than {limits.ENTRY_BYTES}")
    head, blank, record = leaf.partition(b"\n\n")
    return Entry(parse_header(head + blank), record)


def look_into(leaf: bytes) -> tuple[str, bytes]:
    """Return time received and record bytes of a leaf that is known to be an entry."""
    head, _, record = leaf.partition(b"\n\n")
    return head.split(b"\n", _HEADER_LINES)[4].decode("ascii"), record
