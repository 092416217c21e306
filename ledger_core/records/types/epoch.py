"""``epoch/1``: the log goes on from an older backup, under a new origin; what lay behind is lost.

It is the entry at the size of the restored database, the first one of the new origin. Nothing can
be endorsed in a ledger that may not sign, so those who agree sign the **statement** beforehand,
each for himself, and their signatures travel in the record. ::

    {"statement":{"old_origin":"ledgergrid.example/log1",
                  "new_origin":"ledgergrid.example/log1/epoch/2",
                  "log_key":"ledgergrid.example/log1/epoch/2+…",
                  "fork":{"size":80,"root":"sha256:…"},
                  "known":[{"origin":"ledgergrid.example/log1","size":100,"root":"sha256:…"}],
                  "reason":"disk lost, backup of 02:00 restored"},
     "fork_checkpoint":"ledgergrid.example/log1\\n80\\n…",
     "signatures":[{"key":"ed25519:…","signature":"…"}]}

``known`` are the newest checkpoints that are known to have been signed and that this history does
not continue: entries ``[fork.size, size)`` of each are lost. The log's key before signs the
checkpoint of the fork: so whoever trusts that key knows the entries that say who stands.

A signature is Ed25519 over DSSE's encoding of the statement in canonical JSON (RFC 8785), with
the payload type ``application/vnd.ledgergrid.epoch+json``.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, PayloadError, SignatureError
from ledger_core.formats import ed25519
from ledger_core.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger_core.formats.note import parse_note
from ledger_core.formats.record import Record, pre_authentication_encoding
from ledger_core.formats.vkey import LogKey, parse_vkey
from ledger_core.records.model import PartType, Payload, RecordType

STATEMENT_TYPE = b"application/vnd.ledgergrid.epoch+json"

Size = Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_INTEGER)]
Origin = Annotated[str, msgspec.Meta(max_length=limits.ORIGIN_CHARS)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[ -~]*$(?!\n)")]
"""ASCII that can be printed, so that its canonical form is nobody's question."""


class Extent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: Size
    root: str


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest checkpoint known under an origin of this ledger."""

    origin: Origin
    size: Size
    root: str


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is agreed to; see above."""

    old_origin: Origin
    new_origin: Origin
    log_key: Annotated[str, msgspec.Meta(max_length=limits.ORIGIN_CHARS + 100)]
    """vkey of the log in the new epoch (type 0x01), named like the new origin."""
    fork: Extent
    known: Annotated[tuple[Known, ...], msgspec.Meta(min_length=1, max_length=limits.EPOCHS)]
    """Sorted by origin."""
    reason: Reason


class Agreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key's signature over the statement (base64url)."""

    key: str
    signature: str


class Epoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    statement: Statement
    fork_checkpoint: Annotated[str, msgspec.Meta(max_length=limits.NOTE_BYTES)]
    """The signed note of the old origin at the fork's size."""
    signatures: Annotated[
        tuple[Agreement, ...], msgspec.Meta(min_length=1, max_length=limits.MEMBERS)
    ]
    """Sorted by key, each once."""


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(Statement)


def format_statement(statement: Statement) -> bytes:
    """Format canonical JSON (RFC 8785): what is signed."""
    return _ENCODER.encode(statement)


def parse_statement(raw: bytes) -> Statement:
    """Parse a statement and check all that can be said of it alone."""
    if len(raw) > limits.NOTE_BYTES:
        raise MalformedError(f"epoch: a statement is larger than {limits.NOTE_BYTES} bytes")
    try:
        statement = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"epoch: not a statement: {error}") from None
    if format_statement(statement) != raw:
        raise MalformedError("epoch: the statement is not in canonical form")
    check_statement(statement)
    return statement


def check_statement(statement: Statement) -> None:
    """Raise :class:`PayloadError` unless its parts fit each other."""
    try:
        _check_names(statement)
        for root in (statement.fork.root, *(known.root for known in statement.known)):
            ids.parse_digest(root)
        key = parse_vkey(statement.log_key)
    except MalformedError as error:
        raise PayloadError(f"epoch: {error}") from None
    if not isinstance(key, LogKey) or key.name != statement.new_origin:
        raise PayloadError("epoch: log_key is not a log's vkey named like the new origin")


def _check_names(statement: Statement) -> None:
    founded, number = ids.parse_epoch(statement.old_origin)
    again, later = ids.parse_epoch(statement.new_origin)
    ids.check_origin(statement.old_origin)
    if again != founded or later <= number:
        raise PayloadError("epoch: the new origin is not that of a later epoch of this ledger")
    ids.format_epoch(founded, later)
    known = [each.origin for each in statement.known]
    if known != sorted(set(known)):
        raise PayloadError("epoch: what is known is sorted by origin, each once")
    for origin in known:
        if ids.parse_epoch(origin)[0] != founded or ids.parse_epoch(origin)[1] >= later:
            raise PayloadError("epoch: what is known is of earlier epochs of this ledger")


def sign_statement(statement: Statement, key: ed25519.PrivateKey) -> Agreement:
    """Agree to a statement; pairs with :func:`verify_agreement`."""
    message = pre_authentication_encoding(format_statement(statement), STATEMENT_TYPE)
    signature = ids.encode_base64url(key.sign(message))
    return Agreement(ids.format_key(key.public_key), signature)


def verify_agreement(statement: Statement, agreement: Agreement) -> None:
    """Raise :class:`PayloadError` unless the key signed just this statement."""
    message = pre_authentication_encoding(format_statement(statement), STATEMENT_TYPE)
    try:
        signature = ids.decode_base64url(agreement.signature, ed25519.SIGNATURE_BYTES)
        ed25519.verify(ids.parse_key(agreement.key), message, signature)
    except (MalformedError, SignatureError) as error:
        raise PayloadError(f"epoch: {agreement.key[:60]} did not sign this: {error}") from None


def sort_agreements(agreements: Iterable[Agreement]) -> tuple[Agreement, ...]:
    """Return them as a record has them: by key, each once."""
    return tuple(each for _, each in sorted({each.key: each for each in agreements}.items()))


def fork_of(statement: Statement) -> Checkpoint:
    """Return what the log's key before signs: the last checkpoint of the old origin."""
    fork = statement.fork
    return Checkpoint(statement.old_origin, fork.size, ids.parse_digest(fork.root))


def _rule(record: Record, payload: Payload) -> None:
    epoch: Epoch = payload["body"]
    statement = epoch.statement
    check_statement(statement)
    if record.ledger != statement.new_origin:
        raise PayloadError("epoch: the record is not meant for the new origin")
    keys = [each.key for each in epoch.signatures]
    if keys != sorted(set(keys)):
        raise PayloadError("epoch: signatures are sorted by key, each once")
    for each in epoch.signatures:
        verify_agreement(statement, each)
    try:
        signed = parse_checkpoint(parse_note(epoch.fork_checkpoint.encode()).text)
    except MalformedError as error:
        raise PayloadError(f"epoch: {error}") from None
    if signed != fork_of(statement):
        raise PayloadError("epoch: the checkpoint of the fork is another one")


EPOCH_1 = RecordType(
    name="epoch/1",
    summary="The log goes on from an older backup under a new origin: what was lost, who agreed.",
    parts={"body": PartType(Epoch)},
    writers=frozenset({"operator"}),
    audience="public",
    is_governance=True,
    is_constitutional=True,
    rule=_rule,
)
