"""The certificate of erasure: for a person to keep, and to check without us.

It holds, for each order to erase, the order and the record that it is done, each with its receipt
in the ledger's log. Whoever trusts the log's key sees what was ordered and what was destroyed, and
nothing of what it was. The text is one line of canonical JSON (docs/spec/certificate.md).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, starmap
from typing import Annotated, Literal

import msgspec

from ledger_core import clock, ids, limits
from ledger_core.errors import MalformedError, ProofError, TooLargeError
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.receipt import check_receipt, parse_receipt
from ledger_core.formats.record import Part, SignedRecord, parse_record, verify_record
from ledger_core.merkle.tree import leaf_hash
from ledger_core.records.model import RecordType, decode_payload
from ledger_core.records.types.erasure import ERASURE_1, Erasure
from ledger_core.records.types.erasure_done import ERASURE_DONE_1, ErasureDone

_Format = Literal["ledgergrid/erasure-certificate@v1"]
FORMAT: _Format = "ledgergrid/erasure-certificate@v1"

CheckpointOf = Callable[[bytes], Checkpoint]
"""Returns the checkpoint that a signed note holds, verified under the caller's trust policy."""


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry: record and body in base64, the body's salt, and the receipt as text."""

    body: str
    receipt: str
    record: str
    salt: str


class Erased(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order, and the record that it is done."""

    done: Shown
    order: Shown


class Certificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``issued_at`` is the service's claim; everything else is proved."""

    erasures: Annotated[
        tuple[Erased, ...], msgspec.Meta(min_length=1, max_length=limits.CERTIFICATE_ORDERS)
    ]
    format: _Format
    issued_at: str


class Proved(msgspec.Struct, frozen=True):
    """What one order in a certificate comes to. Times in ms."""

    origin: str
    order: int
    ordered_at: int
    done: int
    done_at: int
    reason: str
    entries: int
    parts: int
    stores: tuple[str, ...]
    backups_until: str | None
    exports: int


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(Certificate)


def show(leaf_record: bytes, body: Part, receipt: bytes) -> Shown:
    encode = ids.encode_base64
    return Shown(encode(body.data), receipt.decode(), encode(leaf_record), encode(body.salt))


def format_certificate(certificate: Certificate) -> bytes:
    return _ENCODER.encode(certificate) + b"\n"


def parse_certificate(raw: bytes) -> Certificate:
    """Parse the text and nothing in it; there is one spelling."""
    if len(raw) > limits.CERTIFICATE_BYTES:
        raise TooLargeError(f"certificate is larger than {limits.CERTIFICATE_BYTES} bytes")
    try:
        certificate = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"certificate is not valid: {error}") from None
    clock.parse_time(certificate.issued_at)
    if format_certificate(certificate) != raw:
        raise MalformedError("certificate is not in canonical form")
    return certificate


def check_certificate(certificate: Certificate, checkpoint_of: CheckpointOf) -> list[Proved]:
    """Check every order and what was done upon it; return what they come to.

    Raises :class:`ProofError`, or what a part of it raises.
    """
    return [_check(each, checkpoint_of) for each in certificate.erasures]


def _check(erased: Erased, checkpoint_of: CheckpointOf) -> Proved:
    order = _check_shown(erased.order, ERASURE_1, checkpoint_of)
    done = _check_shown(erased.done, ERASURE_DONE_1, checkpoint_of)
    asked, said = order.body, done.body
    assert isinstance(asked, Erasure) and isinstance(said, ErasureDone)
    if said.order != ids.format_digest(leaf_hash(order.leaf)):
        raise ProofError("what was done was done upon another order")
    if not ids.is_origin_up_to(order.origin, done.origin) or done.index <= order.index:
        raise ProofError("order and done record do not lie behind each other in one ledger")
    return Proved(
        origin=done.origin,
        order=order.index,
        ordered_at=order.received_at,
        done=done.index,
        done_at=done.received_at,
        reason=asked.reason,
        entries=len(asked.targets),
        parts=said.parts,
        stores=said.stores,
        backups_until=said.backups_until,
        exports=len(said.exports) + said.exports_left_out,
    )


class _Entry(msgspec.Struct, frozen=True):
    origin: str
    index: int
    received_at: int
    leaf: bytes
    body: object


def _check_shown(shown: Shown, kind: RecordType, checkpoint_of: CheckpointOf) -> _Entry:
    """Check that an entry is in its log, signed, and of this type."""
    receipt = parse_receipt(shown.receipt.encode())
    checkpoint = checkpoint_of(receipt.checkpoint)
    record = ids.decode_base64(shown.record)
    leaf = receipt.extra + record
    check_receipt(receipt, leaf, checkpoint)
    header = receipt.header()
    signed = SignedRecord(parse_record(record), record, header.signature)
    verify_record(signed)
    named = (signed.record.ledger, header.origin, checkpoint.origin)
    # Each in the same epoch as the next, or an earlier one.
    is_there = all(starmap(ids.is_origin_up_to, pairwise(named)))
    if header.index != receipt.index or not is_there:
        raise ProofError("an entry says that it lies elsewhere")
    if signed.record.type != kind.name:
        raise ProofError(f"{signed.record.type} is no {kind.name}")
    part = Part(ids.decode_base64(shown.salt, 32), ids.decode_base64(shown.body))
    body = decode_payload(kind, signed.record, {"body": part})["body"]
    return _Entry(header.origin, header.index, header.received_at, leaf, body)
