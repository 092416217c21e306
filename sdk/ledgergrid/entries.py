"""An entry that somebody else wrote, read so that nothing of it has to be believed.

The numbers are those of :func:`open_entry`:

1. the leaf is an entry of our ledger, in whichever epoch, and has the hash asked for, if any;
2. the record in it is canonical, meant for our ledger and signed by its author;
3. the receipt proves the leaf at its index, under a checkpoint of the log we trust;
4. every payload part is there and is what the record commits to, its schema and rule kept.

Whether the checkpoint continues the last one is asked in trust.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import CommitmentError, LedgerGridError, ProofError, SignatureError
from ledger_core.formats import receipt as proofs
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import Part, Record, verify_record
from ledger_core.formats.trust_policy import Trusted, TrustPolicy, verify_trusted
from ledger_core.formats.vkey import LogKey, format_vkey
from ledger_core.merkle import tree
from ledger_core.records.model import Payload, decode_payload
from ledger_core.records.registry import find_type
from ledger_core.records.types.log_key import LOG_KEY_1, LogKeyChange, check_handover
from ledgergrid.errors import ForgedEntryError, StrangeLogKeyError
from ledgergrid.wire import Ask, Flow, NoAnswerError, ask, check_understood

_ENTRY_BYTES = limits.SUBMISSION_BYTES + 1024 * 1024
"""An entry as JSON is little more than what it was submitted as."""


@dataclass(frozen=True)
class VerifiedEntry:
    """An entry and its payload, every byte of it checked."""

    index: int
    leaf_hash: str
    received_at_ms: int
    record: Record
    payload: Payload = field(repr=False)
    """Decoded parts by name."""
    parts: Mapping[str, Part] = field(repr=False)
    """The parts' bytes, as they were committed to."""
    checkpoint: Checkpoint
    receipt: bytes = field(repr=False)
    """The C2SP tlog-proof: with ``leaf`` all that an offline check needs."""
    leaf: bytes = field(repr=False)


class _PartBody(msgspec.Struct, frozen=True):
    status: str
    data: str | None = None
    salt: str | None = None


class EntryAnswer(msgspec.Struct, frozen=True):
    """What a ledger answers when asked for an entry, not believed yet."""

    leaf: str
    parts: dict[str, _PartBody]


def fetch_entry(index: int) -> Flow[tuple[EntryAnswer, bytes]]:
    """Ask for an entry with its payload, and for its receipt."""
    answer = yield from ask(Ask("GET", f"/entries/{index}", limit_bytes=_ENTRY_BYTES))
    check_understood(answer)
    try:
        told = msgspec.json.decode(answer.content, type=EntryAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswerError(f"not an entry: {error}") from None
    return told, (yield from fetch_receipt(index))


def fetch_receipt(index: int, size: int | None = None) -> Flow[bytes]:
    """Ask for an entry's receipt, at a size or at its first checkpoint."""
    query = "" if size is None else f"?size={size}"
    path = f"/entries/{index}/receipt{query}"
    answer = yield from ask(Ask("GET", path, limit_bytes=limits.NOTE_BYTES))
    check_understood(answer)
    return answer.content


def split_checkpoint(receipt: bytes) -> bytes:
    """Return the signed checkpoint at the end of a receipt, not verified."""
    try:
        return proofs.parse_receipt(receipt).checkpoint
    except LedgerGridError as error:
        raise ForgedEntryError(f"not a receipt: {error}") from error


def open_entry(
    told: EntryAnswer,
    receipt: bytes,
    index: int,
    origin: str,
    policy: TrustPolicy,
    leaf_hash: str | None,
    *,
    is_whole: bool = True,
) -> tuple[VerifiedEntry, Trusted]:
    """Check an answer, numbered as above; raise :class:`ForgedEntryError` at the first failure.

    ``is_whole``: with 4. Else the entry comes without payload, and says nothing of it.
    """
    try:
        return _open(told, receipt, index, origin, policy, leaf_hash, is_whole=is_whole)
    except ForgedEntryError:
        raise
    except LedgerGridError as error:
        raise ForgedEntryError(f"entry {index}: {error}") from error


def read_heir(told: EntryAnswer, origin: str, last: LogKey) -> LogKey:
    """Return the key that ``last``, a key of the log, hands over to in this entry; both signed it.

    The entry itself is checked by :func:`open_entry`, for which the heir must be known.
    """
    body = told.parts.get("body")
    try:
        if body is None:
            raise CommitmentError("the handover is not shown")
        change = msgspec.json.decode(_open_part("body", body).data, type=LogKeyChange)
        record = parse_entry(ids.decode_base64(told.leaf)).signed_record().record
        if record.type != LOG_KEY_1.name or change.old != format_vkey(last):
            raise SignatureError("this entry does not hand over the log's key")
        return check_handover(origin, change)
    except (msgspec.DecodeError, UnicodeDecodeError, LedgerGridError) as error:
        raise StrangeLogKeyError(f"{origin} changed its key without proof: {error}") from error


def _open(
    told: EntryAnswer,
    receipt: bytes,
    index: int,
    origin: str,
    policy: TrustPolicy,
    wanted: str | None,
    *,
    is_whole: bool,
) -> tuple[VerifiedEntry, Trusted]:
    leaf = ids.decode_base64(told.leaf)
    found = ids.format_digest(tree.leaf_hash(leaf))
    _check(wanted in (None, found), f"its leaf has the hash {found}, not {wanted}")  # 1
    entry = parse_entry(leaf)
    is_ours = ids.is_origin_up_to(entry.header.origin, origin)
    _check(is_ours, f"it stands in {entry.header.origin}")
    _check(entry.header.index == index, f"it calls itself entry {entry.header.index}")
    signed = entry.signed_record()
    is_meant = ids.is_origin_up_to(signed.record.ledger, entry.header.origin)
    _check(is_meant, f"its record is meant for {signed.record.ledger}")  # 2
    verify_record(signed)
    trusted = _check_place(receipt, leaf, index, origin, policy)  # 3
    parts: dict[str, Part] = {}
    payload: Payload = {}
    if is_whole:
        parts = {name: _open_part(name, body) for name, body in told.parts.items()}  # 4
        payload = decode_payload(find_type(signed.record.type), signed.record, parts)
    verified = VerifiedEntry(
        index=index,
        leaf_hash=found,
        received_at_ms=entry.header.received_at,
        record=signed.record,
        payload=payload,
        parts=parts,
        checkpoint=trusted.checkpoint,
        receipt=receipt,
        leaf=leaf,
    )
    return verified, trusted


def _check_place(
    receipt: bytes, leaf: bytes, index: int, origin: str, policy: TrustPolicy
) -> Trusted:
    proof = proofs.parse_receipt(receipt)
    trusted = verify_trusted(proof.checkpoint, policy)
    if trusted.checkpoint.origin != origin or proof.index != index:
        raise ProofError("its receipt is another entry's")
    if not leaf.startswith(proof.extra):
        raise ProofError("its receipt has another header")
    proofs.check_receipt(proof, leaf, trusted.checkpoint)
    return trusted


def _open_part(name: str, body: _PartBody) -> Part:
    if body.status != "present" or body.data is None or body.salt is None:
        raise CommitmentError(f"part {name} is {body.status}: what is not seen is not vouched for")
    return Part(ids.decode_base64(body.salt), ids.decode_base64(body.data))


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ForgedEntryError(f"not the entry that was asked for: {otherwise}")
