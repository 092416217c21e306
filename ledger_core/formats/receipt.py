"""The receipt: C2SP tlog-proof, one text that proves an entry's place.

::

    c2sp.org/tlog-proof@v1
    extra bGVkZ2VyZ3JpZC9lbnRyeUB2MQ…                   the entry's header, base64
    index 41
    x4Vq…=                                              audit path, leaf's sibling first
    …
                                                        blank line
    ledgergrid.example/log1                             a signed checkpoint
    …

``extra`` holds the entry's header, so that header and record give the leaf: an author
who kept the record needs nothing else from the ledger.

Source: https://c2sp.org/tlog-proof
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, ProofError, TooLargeError
from ledger_core.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger_core.formats.entry import Header, parse_header
from ledger_core.formats.note import parse_note
from ledger_core.merkle import tree

FORMAT = "c2sp.org/tlog-proof@v1"


class Receipt(msgspec.Struct, frozen=True):
    """An index, its audit path, a signed checkpoint (a note's bytes) and the entry's header."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def header(self) -> Header:
        """Parse the entry's header out of ``extra``."""
        return parse_header(self.extra)


def format_receipt(receipt: Receipt) -> bytes:
    extra = [f"extra {ids.encode_base64(receipt.extra)}"] if receipt.extra else []
    path = [_encode_hash(each) for each in receipt.hashes]
    lines = [FORMAT, *extra, f"index {receipt.index}", *path]
    return "\n".join(lines).encode("ascii") + b"\n\n" + receipt.checkpoint


@lru_cache(maxsize=4096)
def _encode_hash(node: bytes) -> str:
    """Encode a hash of an audit path; the paths of one batch have most of theirs in common."""
    return ids.encode_base64(node)


def parse_receipt(raw: bytes) -> Receipt:
    """Parse a tlog-proof; the checkpoint is split off, not verified."""
    if len(raw) > limits.NOTE_BYTES:
        raise TooLargeError(f"receipt is larger than {limits.NOTE_BYTES} bytes")
    head, blank, checkpoint = raw.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise MalformedError("receipt is not ASCII before its checkpoint") from None
    if first != FORMAT or not blank or not lines:
        raise MalformedError(f"receipt does not begin with {FORMAT}")
    extra = b""
    if lines[0].startswith("extra "):
        extra = ids.decode_base64(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index ") or not (extra or b"\nextra " not in head):
        raise MalformedError("receipt has no index line, or an empty extra line")
    if len(lines) - 1 > limits.PROOF_HASHES:
        raise TooLargeError(f"receipt has more than {limits.PROOF_HASHES} hashes")
    parse_checkpoint(parse_note(checkpoint).text)
    index = ids.parse_decimal(lines[0].removeprefix("index "))
    return Receipt(index, tuple(ids.decode_base64(x, 32) for x in lines[1:]), checkpoint, extra)


def check_receipt(receipt: Receipt, leaf: bytes, checkpoint: Checkpoint) -> None:
    """Check that ``leaf`` (the entry's bytes) is where the receipt says.

    ``checkpoint`` is the receipt's own, already verified under the caller's trust
    policy. Raises :class:`ProofError`.
    """
    if parse_checkpoint(parse_note(receipt.checkpoint).text) != checkpoint:
        raise ProofError("receipt belongs to another checkpoint")
    tree.check_inclusion(
        receipt.index, checkpoint.size, tree.leaf_hash(leaf), receipt.hashes, checkpoint.root
    )
