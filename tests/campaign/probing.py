"""Judges a database that somebody changed: what do service, client and verifier make of it?

A client keeps receipts, the newest checkpoint, the charter and the log's key. A change is
*noticed* if the service says so or refuses, if what it serves contradicts what the client
kept, or if the verifier rejects the export. It is *harmless* if everything is served as
before and the export verifies. There is nothing else: a wrong thing that nobody notices
fails the campaign.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import text

from ledger_core import ids
from ledger_core.errors import LedgerGridError, ProofError, StandingError
from ledger_core.formats.checkpoint import Checkpoint, verify_checkpoint
from ledger_core.formats.receipt import check_receipt, parse_receipt
from ledger_core.formats.submission import Submission
from ledger_core.formats.vkey import LogKey, format_vkey
from ledger_core.keyring import Keyring
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.ledger import Ledger
from ledger_core.ledgers import Ledgers
from ledger_core.merkle import tree
from ledger_core.sequencer import Appended
from ledger_core.storage.database import open_database
from ledger_core.storage.signer_memory import SignerMemory
from ledger_core.storage.store import StoredEntry
from tests.support.assemblies import make_policy
from tests.support.consortium import Consortium
from tests.support.ledgers import SECRET, Service, append_notes, key_store_beside, register
from tests.support.tampering import TABLES
from verifier.__main__ import main as verify

By = Literal["service", "client", "verifier", "nobody: harmless"]

PAYLOADS: Final[dict[str, dict[str, Any]]] = {
    "agent.action/1": {"body": {"action": "send", "status": "succeeded", "input": {"to": "x"}}},
    "agent.decision/1": {"body": {"decision": "route", "chosen": "north", "options": ["north"]}},
    "note/1": {"body": {"text": "a note"}},
    "llm.call/1": {
        "call": {
            "action_id": "call-1",
            "timestamp": "2026-08-01T10:11:12.345Z",
            "provider": "openai",
            "cost_microusd": 6,
        },
        "request": {"model": "m"},
    },
}
"""One payload of every type that agents write; charter, key and export come by themselves."""


class ClientError(Exception):
    """What is served contradicts what the client kept."""


@dataclass(frozen=True)
class Kept:
    """What a client remembers of a ledger, and the records it will append next."""

    key: LogKey
    charter: str
    checkpoint: Checkpoint
    entries: dict[int, StoredEntry]
    receipts: dict[int, bytes]
    next: Submission
    vote: Submission
    """An endorsement that confirms ``open``, a proposal one voice short."""
    open: bytes
    revoked: Submission
    """A record by a key that was revoked."""
    rows: dict[str, list[tuple[Any, ...]]] = field(repr=False)


def build(service: Service, *, notes: int = 0) -> Kept:
    """Fill a fresh ledger with something of everything, and keep what a client would."""
    replica = service.open()
    policies = (make_policy("agent.decision/1", author_counts=False, ttl_s=300_000_000),)
    shared = Consortium(replica.ledgers, *policies, name="main", kind="private")
    ledger = shared.ledger
    author, gone = register(ledger), register(ledger)
    append_notes(ledger, author, notes, batch=100)
    for type_name, parts in PAYLOADS.items():
        encoded = {name: msgspec.json.encode(value) for name, value in parts.items()}
        outcome = ledger.append([author.seal(type_name, encoded)])[0]
        assert isinstance(outcome, Appended)
    charter = ledger.charter
    ledger.append([author.note("refers", refs=[("causes", charter)], stream=("run", 1))])
    ledger.append_as_operator("key/1", gone.revocation())
    agreed, waiting = (shared.decide().leaf_hash for _ in range(2))
    shared.endorse(agreed, "birch")
    shared.endorse(agreed, "cobalt")
    shared.endorse(waiting, "birch")
    b"".join(ledger.export(0, None, "somebody"))
    size = ledger.size()
    shown = [
        i for i in range(size) if size <= 20 or i in (0, 1, 2, 5, 250, 255, 256) or i > size - 9
    ]
    checkpoint = verify_checkpoint(ledger.checkpoint(), ledger.log_key)
    kept = Kept(
        key=ledger.log_key,
        charter=ids.format_digest(charter),
        checkpoint=checkpoint,
        entries={i: ledger.entry(i) for i in shown},
        receipts={i: ledger.receipt(i) for i in shown},
        # The number was given before, so that evidence is due.
        next=author.note("next", stream=("run", 1)),
        vote=shared.endorsement(waiting, "cobalt"),
        open=waiting,
        revoked=gone.note("by a revoked key"),
        rows=read_rows(service.database_url),
    )
    service.close()
    return kept


@contextmanager
def opened(database_url: str, memory_url: str) -> Iterator[Ledgers]:
    """Open a service without views: nothing that proves stands on them."""
    database, memory = open_database(database_url), open_database(memory_url)
    try:
        keys = DatabaseKeyStore(key_store_beside(memory_url))
        with closing(Ledgers(database, SignerMemory(memory), Keyring(SECRET), keys)) as ledgers:
            yield ledgers
    finally:
        database.close()
        memory.close()


def read_rows(database_url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Read every row of ground truth, in an order that is the same each time."""
    database = open_database(database_url)
    try:
        with database.read() as tx:
            return {
                table: sorted(
                    (tuple(row) for row in tx.execute(text(f"SELECT * FROM {table}"))), key=repr
                )
                for table in TABLES
            }
    finally:
        database.close()


def judge(database_url: str, memory_url: str, kept: Kept, folder: Path) -> tuple[By, str]:
    """Say who notices what was done to the database, and how."""
    try:
        is_same = read_rows(database_url) == kept.rows
        with opened(database_url, memory_url) as ledgers:
            ledger = ledgers.get("main")
            outcome, voice = ledger.append([kept.next, kept.vote])
            for each in (outcome, voice):
                if isinstance(each, LedgerGridError):
                    raise each
            assert isinstance(outcome, Appended)
            check_as_client(ledger, outcome, kept)
            check_as_member(ledger, kept)
            if is_same:
                return "nobody: harmless", ""
            if code := verify_export(ledger, kept, folder):
                return "verifier", f"exit {code}"
    except ClientError as error:
        return "client", str(error)
    except LedgerGridError as error:
        return "service", error.code
    return "nobody: harmless", "rows differ"


def check_as_client(ledger: Ledger, outcome: Appended, kept: Kept) -> None:
    """Raise :class:`ClientError` unless everything served continues what was kept."""
    now = _verify(ledger.checkpoint(), kept.key)
    new = parse_receipt(outcome.receipt)
    proof = ledger.prove_consistency(kept.checkpoint.size, now.size)
    try:
        check_receipt(new, ledger.entry(outcome.index).leaf, _verify(new.checkpoint, kept.key))
        tree.check_consistency(
            kept.checkpoint.size, now.size, kept.checkpoint.root, now.root, proof.hashes
        )
    except ProofError as error:
        raise ClientError(str(error)) from error
    if outcome.index != kept.checkpoint.size:
        raise ClientError("the next record did not get the next place")
    for index, entry in kept.entries.items():
        if ledger.entry(index) != entry:
            raise ClientError("another entry than before")
        if ledger.receipt(index) != kept.receipts[index]:
            raise ClientError("another receipt than before")
    if ledger.entries(list(kept.entries)) != list(kept.entries.values()):
        raise ClientError("other entries than before")


def check_as_member(ledger: Ledger, kept: Kept) -> None:
    """Raise :class:`ClientError` unless the vote decided and a revoked key stays revoked."""
    if ledger.proposal(kept.open).verdict != "confirmed":
        raise ClientError("the quorum was reached and nothing was confirmed")
    if not isinstance(ledger.append([kept.revoked])[0], StandingError):
        raise ClientError("a revoked key writes")


def _verify(note: bytes, key: LogKey) -> Checkpoint:
    try:
        return verify_checkpoint(note, key)
    except LedgerGridError as error:
        raise ClientError(str(error)) from error


def verify_export(ledger: Ledger, kept: Kept, folder: Path) -> int:
    """Export, and return the verifier's exit code; it gets what the client kept as evidence."""
    archive, policy = folder / "archive.zip", folder / "policy"
    archive.write_bytes(b"".join(ledger.export(0, None, "auditor")))
    policy.write_text(f"log {format_vkey(kept.key)}\nquorum none\n")
    arguments = [str(archive), "--trust", str(policy), "--charter", kept.charter, "--jobs", "1"]
    for index, receipt in list(kept.receipts.items())[-3:]:
        path = folder / f"receipt-{index}"
        path.write_bytes(receipt)
        arguments += ["--receipt", str(path)]
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        return verify(arguments)


class Tally:
    """Counts verdicts, and prints them at the end."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.by: Counter[str] = Counter()
        self.how: Counter[str] = Counter()

    def add(self, by: By, how: str) -> None:
        self.by[by] += 1
        self.how[f"{by}: {how}" if how else by] += 1

    def report(self) -> str:
        counts = ", ".join(f"{n} by {who}" for who, n in sorted(self.by.items()))
        return f"{self.title}: {self.by.total()} tried, noticed: {counts}"
