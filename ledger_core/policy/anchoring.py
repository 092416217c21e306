"""Anchored receipts: from an entry of a closed local ledger to a checkpoint of its parent.

::

    local entry --path--> root --is said by--> anchor/1, an entry of the parent
                                  --path--> the parent's signed checkpoint

Whoever trusts the parent's log key needs no key of the local ledger: its root stands in the
anchor, and its charter is proved to be the first entry under that root. The text is one line
of canonical JSON (docs/spec/anchor.md).
"""

from __future__ import annotations

from itertools import pairwise, starmap
from typing import Literal

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, ProofError, TooLargeError
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.receipt import check_receipt, parse_receipt
from ledger_core.formats.record import (
    Part,
    SignedRecord,
    parse_record,
    verify_record,
)
from ledger_core.formats.submission import Submission, seal_repeatably
from ledger_core.merkle import tree
from ledger_core.records.model import decode_payload
from ledger_core.records.types.anchor import ANCHOR_1, Anchor

_Format = Literal["ledgergrid/anchored-receipt@v1"]
FORMAT: _Format = "ledgergrid/anchored-receipt@v1"
_BYTES = 2 * limits.NOTE_BYTES + 2 * limits.ENTRY_BYTES


class AnchoredReceipt(msgspec.Struct, frozen=True):
    """``local`` and ``parent`` are receipts (tlog-proof), of the entry and of its anchor.

    ``record`` and ``body`` are the anchor's record and payload; ``charter`` is the path of the
    local ledger's entry 0 to the anchored root.
    """

    local: bytes
    charter: tuple[bytes, ...]
    record: bytes
    body: Part
    parent: bytes


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    body: str
    record: str
    salt: str


class _Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    anchor: _Record
    charter: tuple[str, ...]
    format: _Format
    local: str
    parent: str


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(_Text)


def format_anchored(receipt: AnchoredReceipt) -> bytes:
    encode = ids.encode_base64
    anchor = _Record(encode(receipt.body.data), encode(receipt.record), encode(receipt.body.salt))
    path = tuple(map(encode, receipt.charter))
    local, parent = receipt.local.decode(), receipt.parent.decode()
    return _ENCODER.encode(_Text(anchor, path, FORMAT, local, parent)) + b"\n"


def parse_anchored(raw: bytes) -> AnchoredReceipt:
    """Parse the text and nothing in it; there is one spelling."""
    if len(raw) > _BYTES:
        raise TooLargeError(f"anchored receipt is larger than {_BYTES} bytes")
    try:
        text = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"anchored receipt is not valid: {error}") from None
    if len(text.charter) > limits.PROOF_HASHES:
        raise TooLargeError(f"anchored receipt has more than {limits.PROOF_HASHES} hashes")
    decode = ids.decode_base64
    receipt = AnchoredReceipt(
        local=text.local.encode(),
        charter=tuple(decode(each, 32) for each in text.charter),
        record=decode(text.anchor.record),
        body=Part(decode(text.anchor.salt), decode(text.anchor.body)),
        parent=text.parent.encode(),
    )
    if format_anchored(receipt) != raw:
        raise MalformedError("anchored receipt is not in canonical form")
    return receipt


def check_anchored(receipt: AnchoredReceipt, leaf: bytes, checkpoint: Checkpoint) -> Anchor:
    """Check the whole way from ``leaf``, an entry of a local ledger, to its parent's checkpoint.

    ``checkpoint`` is the one in ``receipt.parent``, verified under the caller's trust policy.
    Returns the anchor: which ledger it is of. Raises :class:`ProofError` or what a part raises.
    """
    anchor = _check_anchor(receipt, checkpoint)
    root = ids.parse_digest(anchor.root)
    local = parse_receipt(receipt.local)
    anchored = Checkpoint(anchor.origin, anchor.size, root)
    check_receipt(local, leaf, anchored)
    header = parse_entry(leaf).header
    if header.index != local.index or not ids.is_origin_up_to(header.origin, anchor.origin):
        raise ProofError("the entry says that it lies elsewhere")
    tree.check_inclusion(0, anchor.size, ids.parse_digest(anchor.charter), receipt.charter, root)
    return anchor


def _check_anchor(receipt: AnchoredReceipt, checkpoint: Checkpoint) -> Anchor:
    """Check that the anchor is an entry of the parent, signed, and says what its payload says."""
    parent = parse_receipt(receipt.parent)
    check_receipt(parent, parent.extra + receipt.record, checkpoint)
    header = parent.header()
    signed = SignedRecord(parse_record(receipt.record), receipt.record, header.signature)
    verify_record(signed)
    named = (signed.record.ledger, header.origin, checkpoint.origin)
    # Each in the same epoch as the next, or an earlier one.
    is_there = all(starmap(ids.is_origin_up_to, pairwise(named)))
    if header.index != parent.index or not is_there:
        raise ProofError("the anchor says that it lies elsewhere")
    if signed.record.type != ANCHOR_1.name:
        raise ProofError(f"{signed.record.type} is no {ANCHOR_1.name}")
    anchor: Anchor = decode_payload(ANCHOR_1, signed.record, {"body": receipt.body})["body"]
    return anchor


def parent_checkpoint_of(receipt: AnchoredReceipt) -> bytes:
    """Return the parent's signed checkpoint (a note's bytes), to be verified before the check."""
    return parse_receipt(receipt.parent).checkpoint


# --- making the anchor -------------------------------------------------------------

_SEED_TAG = b"ledgergrid/anchor-seed@v1\n"


def seal_anchor(origin: str, anchor: Anchor, at_ms: int, operator: PrivateKey) -> Submission:
    """Seal the ``anchor/1`` for the ledger ``origin``: the same bytes every time."""
    body = msgspec.json.encode(anchor)
    seed = _SEED_TAG + origin.encode() + b"\n%d\n" % at_ms + body
    return seal_repeatably(origin, ANCHOR_1.name, body, operator, at_ms, seed)
