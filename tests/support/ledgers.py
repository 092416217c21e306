"""Real ledgers for tests: real databases, real keys, a clock that the test turns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from sqlalchemy.engine import make_url

from ledger_core import clock, ids
from ledger_core.beside import Keeper
from ledger_core.errors import LedgerGridError
from ledger_core.formats import ed25519
from ledger_core.formats import record as records
from ledger_core.formats.checkpoint import Checkpoint, verify_checkpoint
from ledger_core.formats.receipt import check_receipt, parse_receipt
from ledger_core.formats.record import Record, Ref, Relation
from ledger_core.formats.submission import Submission
from ledger_core.formats.trust_policy import TrustPolicy
from ledger_core.formats.vkey import NoteSigner, format_vkey
from ledger_core.keyring import Keyring
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.ledger import Ledger
from ledger_core.ledgers import Ledgers
from ledger_core.policy.allowances import State
from ledger_core.records.model import Role
from ledger_core.records.possession import prove_possession
from ledger_core.records.types.key import Register, Revoke
from ledger_core.sequencer import Appended, Outcome
from ledger_core.storage import allowances
from ledger_core.storage.database import Database, Transaction, open_database
from ledger_core.storage.prepared import query_all
from ledger_core.storage.signer_memory import SignerMemory

SECRET = bytes(range(32))
START_MS = 1_785_579_072_345


class TurnedClock:
    """A clock that stands still until the test turns it, back or forth."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class Replica:
    """One process's worth of a service; several over one database are replicas of each other."""

    def __init__(
        self,
        database_url: str,
        memory_url: str,
        now: clock.Clock = clock.now_ms,
        witness_policy: TrustPolicy | None = None,
        own_log_keys: Sequence[NoteSigner] = (),
        key_store_url: str = "",
        *,
        is_started: bool = True,
        keeper: Keeper | None = None,
    ) -> None:
        self.clock = now
        self.database: Database = open_database(database_url)
        self.database.migrate()
        self._memory = open_database(memory_url)
        self.memory = SignerMemory(self._memory)
        self.keys = DatabaseKeyStore(key_store_url or key_store_beside(memory_url))
        self.ledgers = Ledgers(
            self.database,
            self.memory,
            Keyring(SECRET, own_log_keys),
            self.keys,
            clock=now,
            witness_policy=witness_policy,
            keeper=keeper,
        )
        if is_started:
            self.ledgers.start()

    def close(self) -> None:
        self.ledgers.close()
        self.database.close()
        self._memory.close()


def key_store_beside(memory_url: str) -> str:
    """Name the key store in the folder of the signer's memory."""
    return f"sqlite:///{Path(str(make_url(memory_url).database)).with_name('keys.db')}"


class Service:
    """Opens replicas over one database and one signer memory, and closes them all at the end."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.database_url = database_url
        self.memory_url = f"sqlite:///{folder / 'signer.db'}"
        self.clock = TurnedClock()
        self.own_log_keys: Sequence[NoteSigner] = ()
        self._open: list[Replica] = []

    def open(
        self,
        *,
        memory_url: str | None = None,
        witness_policy: TrustPolicy | None = None,
        is_started: bool = True,
        keeper: Keeper | None = None,
    ) -> Replica:
        replica = Replica(
            self.database_url,
            memory_url or self.memory_url,
            self.clock,
            witness_policy,
            self.own_log_keys,
            is_started=is_started,
            keeper=keeper,
        )
        self._open.append(replica)
        return replica

    def close(self) -> None:
        while self._open:
            self._open.pop().close()

    def reopen(self) -> Replica:
        """Stop every replica and start one anew."""
        self.close()
        return self.open()


@contextmanager
def a_service(database_url: str, folder: Path) -> Iterator[Service]:
    with closing(Service(database_url, folder)) as service:
        yield service


class Author:
    """Someone with a key, who seals records for one ledger."""

    def __init__(self, origin: str, key: ed25519.PrivateKey | None = None) -> None:
        self.origin = origin
        self.key = key or ed25519.PrivateKey.generate()

    @property
    def name(self) -> str:
        return ids.format_key(self.key.public_key)

    def note(
        self,
        value: object = "",
        *,
        record_id: str | None = None,
        refs: Sequence[tuple[Relation, bytes]] = (),
        stream: tuple[str, int] | None = None,
        salt: bytes | None = None,
    ) -> Submission:
        """Seal a ``note/1`` that says ``value``."""
        return self.seal(
            "note/1",
            {"body": msgspec.json.encode(value)},
            record_id=record_id,
            refs=refs,
            stream=stream,
            salt=salt,
        )

    def seal(
        self,
        type_name: str,
        parts: Mapping[str, bytes],
        *,
        record_id: str | None = None,
        refs: Sequence[tuple[Relation, bytes]] = (),
        stream: tuple[str, int] | None = None,
        media_types: Mapping[str, str] | None = None,
        salt: bytes | None = None,
        parties: Sequence[str] = (),
    ) -> Submission:
        """Seal a record of any type; its parts are JSON unless ``media_types`` says otherwise."""
        media = media_types or {}
        made = {
            name: records.make_part(data, media.get(name, "application/json"), salt)
            for name, data in parts.items()
        }
        record = Record(
            v=1,
            ledger=self.origin,
            id=record_id or ids.new_record_id(),
            type=type_name,
            author=self.name,
            made_at=clock.format_time(START_MS),
            payload={name: ref for name, (ref, _) in sorted(made.items())},
            refs=tuple(Ref(rel, ids.format_digest(to)) for rel, to in refs),
            parties=tuple(sorted(parties)),
            stream=stream[0] if stream else msgspec.UNSET,
            n=stream[1] if stream else msgspec.UNSET,
        )
        signed = records.seal(record, self.key)
        return Submission(signed, {name: part for name, (_, part) in made.items()})

    def registration(self, *roles: Role) -> bytes:
        """Make the body of the ``key/1`` that registers this author."""
        proof = prove_possession(self.origin, self.key)
        return msgspec.json.encode(Register(self.name, roles or ("agent",), proof))

    def revocation(self) -> bytes:
        """Make the body of the ``key/1`` that revokes this author."""
        return msgspec.json.encode(Revoke(self.name, "compromised"))


def register(ledger: Ledger, *roles: Role) -> Author:
    """Make an author and have the ledger's operator register it."""
    author = Author(ledger.origin)
    ledger.append_as_operator("key/1", author.registration(*roles))
    return author


def appended(outcome: Outcome) -> Appended:
    """Return the acknowledgement; an outcome that is an error fails the test."""
    if isinstance(outcome, LedgerGridError):
        raise outcome
    return outcome


def refused(outcome: Outcome) -> LedgerGridError:
    """Return the error; an acknowledgement fails the test."""
    assert isinstance(outcome, LedgerGridError), outcome
    return outcome


def find_allowances(tx: Transaction, ledger_id: int, keys: Collection[bytes]) -> dict[bytes, State]:
    """Return what is stored of those allowances of which anything is."""
    return allowances.found(query_all(tx, allowances.finding(tx, ledger_id, keys)))


def append_notes(ledger: Ledger, author: Author, count: int, batch: int = 500) -> list[Appended]:
    """Append so many notes, in batches."""
    done: list[Appended] = []
    while len(done) < count:
        notes = [author.note(len(done) + i) for i in range(min(batch, count - len(done)))]
        done += [appended(outcome) for outcome in ledger.append(notes)]
    return done


def checked_receipt(ledger: Ledger, index: int, receipt: bytes) -> Checkpoint:
    """Check a receipt as a client would, against the entry's bytes; return its checkpoint."""
    parsed = parse_receipt(receipt)
    checkpoint = verify_checkpoint(parsed.checkpoint, ledger.log_key)
    assert parsed.index == index
    check_receipt(parsed, ledger.entry(index).leaf, checkpoint)
    return checkpoint


def trust_policy(ledger: Ledger) -> str:
    """Write the trust policy of somebody who knows the ledger's key."""
    return f"log {format_vkey(ledger.log_key)}\nquorum none\n"
