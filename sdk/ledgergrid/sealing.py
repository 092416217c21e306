"""From what a caller hands over to a sealed record, ready to travel.

A *draft* becomes *sealed* once: from then on its id, salts and signature stay the same,
however often it is sent, so that the ledger can tell a repetition from a second record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import msgspec

from ledger_core import ids, limits
from ledger_core.clock import Clock, format_time
from ledger_core.errors import MalformedError, TooLargeError
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.record import (
    Part,
    PartRef,
    Record,
    Ref,
    Relation,
    Saw,
    SignedRecord,
    make_part,
)
from ledger_core.formats.submission import Submission, format_submission, parse_submission
from ledgergrid.numbers import Numbers
from ledgergrid.receipts import Receipt
from ledgergrid.signer import Signer

JSON = "application/json"
BYTES = "application/octet-stream"
BODY = "body"

PartValue = object
"""``bytes``, a pair ``(media_type, bytes)``, or anything that JSON can say."""

Target = Receipt | str
"""An earlier entry: its receipt, or its leaf hash as ``sha256:…``."""


class Options(TypedDict, total=False):
    """What a record may carry beside type and payload."""

    parts: Mapping[str, PartValue]
    """More payload parts by name: JSON values, ``bytes``, or ``(media_type, bytes)``."""
    refs: Iterable[tuple[Relation, Target]]
    """Links to earlier entries."""
    causes: Iterable[Target]
    """Short for refs of the relation ``causes``."""
    parties: Iterable[str]
    stream: str
    """Name of a run; its records are counted, so that a missing one is seen."""
    n: int
    """The count in ``stream``; left out, the client counts from 0, across restarts."""


@dataclass(frozen=True)
class Draft:
    """A record before it is sealed, for :meth:`Ledger.append_many`."""

    type: str
    payload: object = None
    options: Options | None = None


@dataclass(frozen=True)
class Sealed:
    """A signed record and the line of JSON that carries it; the same bytes at every attempt."""

    signed: SignedRecord
    line: bytes

    @property
    def id(self) -> str:
        return self.signed.record.id


def parse_sealed(line: bytes) -> Sealed:
    """Read back what :class:`Sealer` made."""
    return Sealed(parse_submission(line).signed, line)


class Sealer:
    """Seals drafts for one ledger and one author.

    A number of a stream is used once, and only by a record that was really sealed.
    """

    def __init__(self, signer: Signer, clock: Clock, numbers: Numbers) -> None:
        self._signers: tuple[Signer, ...] = (signer,)
        self._clock = clock
        self._numbers = numbers

    def hand_over(self, successor: Signer) -> None:
        """Seal with another key from here on; streams go on counting."""
        self._signers = (successor, *self._signers)

    def seal(self, draft: Draft, origin: str, saw: Checkpoint | None) -> Sealed:
        """Commit to the payload, number, sign and format; everything malformed is refused here."""
        options = draft.options or Options()
        signers = self._signers  # Once: another thread may hand over meanwhile.
        signer = signers[0]
        refs, parts = _make_parts(draft.payload, options.get("parts", {}))
        record = Record(
            v=1,
            ledger=origin,
            id=ids.new_record_id(),
            type=draft.type,
            author=signer.key,
            made_at=format_time(self._clock()),
            payload=refs,
            refs=_make_refs(options),
            parties=tuple(sorted(set(options.get("parties", ())))),
            saw=msgspec.UNSET if saw is None else Saw(ids.format_digest(saw.root), saw.size),
        )
        stream = options.get("stream")
        if stream is None:
            if "n" in options:
                raise MalformedError("n counts in a stream; name the stream")
            return _finish(record, parts, signer)
        authors = [each.key for each in signers]
        with self._numbers.next(authors, stream, options.get("n")) as n:
            return _finish(msgspec.structs.replace(record, stream=stream, n=n), parts, signer)


def _finish(record: Record, parts: Mapping[str, Part], signer: Signer) -> Sealed:
    signed = signer.seal(record)
    line = format_submission(Submission(signed, parts))
    if len(line) > limits.SUBMISSION_BYTES:
        raise TooLargeError(f"record and payload exceed {limits.SUBMISSION_BYTES} bytes")
    return Sealed(signed, line)


def _make_parts(
    payload: object, more: Mapping[str, PartValue]
) -> tuple[dict[str, PartRef], dict[str, Part]]:
    values = dict(more)
    if payload is not None:
        if BODY in values:
            raise MalformedError(f"the payload is part {BODY!r}, so parts cannot have one too")
        values[BODY] = payload
    made = {name: make_part(*_encode(name, value)) for name, value in values.items()}
    return {n: ref for n, (ref, _) in made.items()}, {n: part for n, (_, part) in made.items()}


def _encode(name: str, value: PartValue) -> tuple[bytes, str]:
    match value:
        case bytes() as data:
            return data, BYTES
        case (str() as media_type, bytes() as data):
            return data, media_type
    try:
        # Strict: no NaN, which is not JSON, and no half of a surrogate pair.
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode(), JSON
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedError(f"payload part {name!r} is not JSON: {error}") from None


def _make_refs(options: Options) -> tuple[Ref, ...]:
    pairs: list[tuple[Relation, Target]] = list(options.get("refs", ()))
    pairs += [("causes", target) for target in options.get("causes", ())]
    return tuple(Ref(rel, to if isinstance(to, str) else to.leaf_hash) for rel, to in pairs)
