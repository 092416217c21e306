"""Tools on a ledger's entries: check one anew, fetch its receipt, append a signed record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import msgspec
from pydantic import BaseModel, Field

from api.mcp.tools import Arguments, Caller, Tool, in_thread
from api.routes.records import acknowledgement, name_outcome
from api.sight import Sight
from api.veil import NoLedger, veil
from ledger_core import clock, ids, limits
from ledger_core.errors import (
    IntegrityError,
    LedgerGridError,
    MalformedError,
    NotFoundError,
    ProofError,
)
from ledger_core.formats.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from ledger_core.formats.entry import Entry, parse_entry
from ledger_core.formats.note import parse_note
from ledger_core.formats.receipt import Receipt, check_receipt, parse_receipt
from ledger_core.formats.record import SignedRecord, check_part, parse_record, verify_record
from ledger_core.formats.vkey import LogKey, parse_vkey
from ledger_core.ledger import Ledger
from ledger_core.storage.store import StoredEntry

_Name = Field(
    max_length=limits.LEDGER_NAME_CHARS,
    pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    description="the ledger's name",
)


class Place(Arguments):
    """An entry's place in a ledger."""

    index: int = Field(ge=0, le=limits.MAX_INTEGER, description="the entry's index, from 0")
    ledger: str | None = Field(
        default=None,
        max_length=limits.LEDGER_NAME_CHARS,
        description="the ledger's name; without it the ledger that calls are captured in",
    )


class Checked(BaseModel):
    """One check: what was compared with what, and whether it held."""

    check: str
    holds: bool
    found: str


class Verification(BaseModel):
    """What a check of one entry found."""

    ledger: str
    index: int
    verified: bool = Field(description="whether every check held")
    checks: list[Checked]
    leaf_hash: str
    type: str
    author: str
    received_at: str
    checkpoint_size: int | None = Field(description="entries under the checkpoint it stands under")
    checkpoint_root: str | None
    not_checked: str


_NOT_CHECKED = (
    "The service checked itself. Whoever does not trust it checks the receipt and an archive "
    "offline with `ledgergrid verify`, against a log key that they know from elsewhere."
)


def verify_entry(caller: Caller, place: Place) -> Verification:
    """Read an entry and check it from its bytes up; blocking."""
    sight = _look(caller, place)
    entry = sight.entry(place.index)
    parsed = parse_entry(entry.leaf)
    record = parse_record(parsed.record)
    checks, checkpoint = Checks(), None
    signed = SignedRecord(record, parsed.record, parsed.header.signature)
    checks.run(
        "record signature",
        lambda: verify_record(signed),
        f"the record's bytes are signed by {record.author}",
    )
    receipt = checks.run(
        "receipt",
        lambda: parse_receipt(sight.receipt(place.index)),
        "the log has a receipt for this entry",
    )
    if receipt is not None:
        checkpoint = check_place(sight.ledger, entry, parsed, receipt, checks)
    for name, found in _part_checks(sight, entry, checks):
        checks.add(f"payload part {name}", holds=True, found=found)
    return Verification(
        ledger=sight.ledger.name,
        index=entry.index,
        verified=all(each.holds for each in checks.made),
        checks=checks.made,
        leaf_hash=ids.format_digest(entry.leaf_hash),
        type=record.type,
        author=record.author,
        received_at=clock.format_time(parsed.header.received_at),
        checkpoint_size=checkpoint.size if checkpoint else None,
        checkpoint_root=ids.format_digest(checkpoint.root) if checkpoint else None,
        not_checked=_NOT_CHECKED,
    )


class Checks:
    """The checks made so far; one that fails is told, and the next one is made."""

    def __init__(self) -> None:
        self.made: list[Checked] = []

    def add(self, check: str, *, holds: bool, found: str) -> None:
        self.made.append(Checked(check=check, holds=holds, found=found))

    def run(self, check: str, work: Callable[[], Any], found: str) -> Any:
        try:
            done = work()
        except NotFoundError:
            raise
        except LedgerGridError as error:
            self.add(check, holds=False, found=f"{error.title}: {error}")
            return None
        self.add(check, holds=True, found=found)
        return done


def check_place(
    ledger: Ledger, entry: StoredEntry, parsed: Entry, receipt: Receipt, checks: Checks
) -> Checkpoint | None:
    said = parse_checkpoint(parse_note(receipt.checkpoint).text)
    key = _key_at(ledger, said.size)
    checkpoint: Checkpoint | None = checks.run(
        "checkpoint signature",
        lambda: verify_checkpoint(receipt.checkpoint, key),
        f"the checkpoint of size {said.size} is signed by the log's key for that size",
    )
    if checkpoint is None:
        return None
    checks.run(
        "inclusion",
        lambda: check_receipt(receipt, entry.leaf, checkpoint),
        f"the entry's bytes are the leaf at index {entry.index} under the checkpoint's root",
    )
    checks.run(
        "header",
        lambda: _check_header(receipt, entry, parsed),
        "the receipt's header is the entry's, and names this index",
    )
    return checkpoint


def _key_at(ledger: Ledger, size: int) -> LogKey:
    vkeys = [vkey for index, vkey in ledger.log_keys() if index < size]
    key = parse_vkey(vkeys[-1])
    if not isinstance(key, LogKey):
        raise IntegrityError("the log's key is no log key")
    return key


def _check_header(receipt: Receipt, entry: StoredEntry, parsed: Entry) -> None:
    header = receipt.header()
    if header != parsed.header or header.index != entry.index or receipt.index != entry.index:
        raise ProofError("receipt and entry have different headers")


def _part_checks(sight: Sight, entry: StoredEntry, checks: Checks) -> Iterator[tuple[str, str]]:
    """Check each part against its commitment; yield those that are not there to be checked."""
    refs = parse_record(parse_entry(entry.leaf).record).payload
    standing = sight.parts([entry], sight.ledger.states.of([entry]))[entry.index]
    for name, ref in sorted(refs.items()):
        part = entry.parts.get(name)
        if standing[name].status != "present" or part is None:
            status = "missing" if standing[name].status == "present" else standing[name].status
            yield name, f"{status}, so not compared with its commitment"
            continue
        checks.run(
            f"payload part {name}",
            lambda name=name, ref=ref, part=part: check_part(name, ref, part),  # type: ignore[misc]
            f"{ref.size} bytes match the commitment that was signed",
        )


def _look(caller: Caller, place: Place) -> Sight:
    return caller.look(place.ledger or caller.service.settings.capture_ledger)


class ReceiptText(BaseModel):
    """An entry's receipt."""

    ledger: str
    index: int
    receipt: str = Field(description="C2SP tlog-proof: proves the entry's place offline")


def get_receipt(caller: Caller, place: Place) -> ReceiptText:
    """Return an entry's receipt; blocking."""
    sight = _look(caller, place)
    text = sight.receipt(place.index).decode()
    return ReceiptText(ledger=sight.ledger.name, index=place.index, receipt=text)


class Signed(Arguments):
    """A record that its author has sealed and signed."""

    ledger: str = _Name
    submission: dict[str, Any] = Field(
        description="the signed submission, as POST …/records takes it (docs/spec/submission.md)"
    )


class Appended(BaseModel):
    """The place that the record has now."""

    index: int
    leaf_hash: str
    received_at: str
    id: str
    receipt: str
    is_new: bool = Field(description="false: it was there before, with the same bytes")


async def append_record(caller: Caller, signed: Signed) -> Appended:
    """Append a signed record, as ``POST …/records`` does: its signature authorises it."""
    service, raw = caller.service, msgspec.json.encode(signed.submission)
    if len(raw) > limits.SUBMISSION_BYTES:
        raise MalformedError("the submission is too large")
    try:
        ledger: Ledger | NoLedger = await anyio.to_thread.run_sync(
            service.ledgers.get, signed.ledger
        )
    except NotFoundError:
        ledger = NoLedger(service.database)
    (outcome,) = await caller.ferry.submit(ledger, [raw])
    if isinstance(outcome, LedgerGridError):
        (outcome,) = await anyio.to_thread.run_sync(veil, ledger, [raw], [outcome])
    service.metrics.count_outcome(name_outcome(outcome))
    if isinstance(outcome, LedgerGridError):
        raise outcome
    return Appended(**msgspec.structs.asdict(acknowledgement(outcome)), is_new=outcome.is_new)


TOOLS = (
    Tool(
        "verify_entry",
        "Verify an entry",
        "Check one entry of a ledger anew, from its bytes up: the author's signature, the log's "
        "receipt, the signature of its checkpoint, inclusion, and each payload part's commitment. "
        "Says what was checked, and what not.",
        Place,
        Verification,
        in_thread(verify_entry),
    ),
    Tool(
        "get_receipt",
        "Get a receipt",
        "Fetch an entry's receipt (C2SP tlog-proof), which proves the entry's place offline, "
        "without this service.",
        Place,
        ReceiptText,
        in_thread(get_receipt),
    ),
    Tool(
        "append_record",
        "Append a signed record",
        "Append a record that its author has already sealed and signed, with the SDK or "
        "`ledgergrid`. Nothing is signed here. Answers when the record is durable, with its "
        "receipt; the same record again gives the same receipt.",
        Signed,
        Appended,
        append_record,
        writes=True,
    ),
)
