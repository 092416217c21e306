"""The receipt an author gets, and the checks it passes before anyone gets it.

The numbers are those of :func:`open_receipt`:

1. the receipt parses, and its header is an entry's;
2. the entry stands in our ledger, now or in an earlier epoch, at the index the receipt proves;
3. it carries the signature we made (with 5: it is our record, not another's);
4. the checkpoint is signed by the log we trust, for our ledger;
5. header and our record's bytes are the leaf at that index under that checkpoint;
6. what the answer says in words agrees with what the receipt proves.

Whether the checkpoint continues the last one is asked in delivery.py: that needs the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from ledger_core import ids
from ledger_core.clock import format_time
from ledger_core.errors import LedgerGridError
from ledger_core.formats import receipt as proofs
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.record import SignedRecord
from ledger_core.formats.trust_policy import Trusted, TrustPolicy, verify_trusted
from ledger_core.merkle import tree
from ledgergrid.errors import ForgedReceiptError


@dataclass(frozen=True)
class Receipt:
    """A verified receipt: the record ``id`` stands at ``index``, covered by ``checkpoint``."""

    id: str
    index: int
    leaf_hash: str
    received_at: str
    checkpoint: Checkpoint
    witnesses: tuple[str, ...]
    """Names of the trusted witnesses that had cosigned the checkpoint already."""
    text: bytes = field(repr=False)
    """The C2SP tlog-proof: with ``record`` all that an offline check needs."""
    record: bytes = field(repr=False)
    """The record's bytes, as signed."""


class Acknowledgement(msgspec.Struct, frozen=True):
    """A ledger's answer to an append, not believed yet."""

    id: str
    index: int
    leaf_hash: str
    received_at: str
    receipt: str


def open_receipt(
    answer: Acknowledgement, signed: SignedRecord, origin: str, policy: TrustPolicy
) -> tuple[Receipt, Trusted]:
    """Check an answer, numbered as above; raise :class:`ForgedReceiptError` at the first failure.

    Returns the receipt and its checkpoint as trusted.
    """
    try:
        text = answer.receipt.encode()
        proof = proofs.parse_receipt(text)  # 1
        header = proof.header()
        is_ours = ids.is_origin_up_to(header.origin, origin)
        _check(is_ours, f"entry stands in {header.origin}")  # 2
        _check(header.index == proof.index, "entry and proof name different indexes")
        _check(header.signature == signed.signature, "entry carries another signature")  # 3
        trusted = verify_trusted(proof.checkpoint, policy)  # 4
        _check(trusted.checkpoint.origin == origin, "checkpoint is another ledger's")
        leaf = proof.extra + signed.raw
        proofs.check_receipt(proof, leaf, trusted.checkpoint)  # 5
    except ForgedReceiptError:
        raise
    except LedgerGridError as error:
        raise ForgedReceiptError(f"receipt for record {signed.record.id}: {error}") from error
    receipt = Receipt(
        id=signed.record.id,
        index=proof.index,
        leaf_hash=ids.format_digest(tree.leaf_hash(leaf)),
        received_at=format_time(header.received_at),
        checkpoint=trusted.checkpoint,
        witnesses=tuple(witness.name for witness in trusted.witnesses),
        text=text,
        record=signed.raw,
    )
    for name in ("id", "index", "leaf_hash", "received_at"):  # 6
        _check(getattr(answer, name) == getattr(receipt, name), f"answer gives another {name}")
    return receipt, trusted


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ForgedReceiptError(f"receipt does not prove our record's place: {otherwise}")
