"""Older databases under newer signer memories: what a restored backup is."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from ledger_core.epochs import Standstill, open_epoch, state_epoch
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.keyring import Keyring
from ledger_core.ledger import Ledger
from ledger_core.records.types.epoch import Statement, sign_statement
from tests.support.ledgers import SECRET, Author, Replica, Service, append_notes, register
from tests.support.postgresql import Server

REASON = "disk lost, backup of 02:00 restored"


@dataclass
class Backups:
    """Copies a service's database aside and puts it back; the signer's memory stays as it is."""

    service: Service
    server: Server | None
    folder: Path

    def take(self) -> str:
        """Copy the database; the service is closed by that. Return where the copy is."""
        self.service.close()
        url = make_url(self.service.database_url)
        if self.server is not None:
            assert url.database is not None
            return self.server.url(self.server.create_database(url.database))
        copy = self.folder / f"copy-{len(list(self.folder.glob('copy-*.db')))}.db"
        shutil.copy(str(url.database), copy)
        return f"sqlite:///{copy}"

    def restore(self, copy: str) -> None:
        """Serve a copy's own copy from now on, so that it can be restored once more."""
        self.service.close()
        self.service.database_url = copy
        self.service.database_url = self.take()


def standstill(replica: Replica) -> Standstill:
    return Standstill(replica.database, replica.memory, Keyring(SECRET), replica.clock)


def operator_key(ledger: Ledger) -> PrivateKey:
    return Keyring(SECRET).operator(ledger.origins[0])


def begin_epoch(
    service: Service, *signers: PrivateKey, name: str = "main", reason: str = REASON
) -> tuple[Statement, Ledger]:
    """State the epoch, have it signed, open it; return the ledger as it runs again."""
    replica = service.reopen()
    statement = state_epoch(standstill(replica), name, reason)
    agree(replica, statement, signers or (operator_key(replica.ledgers.get(name)),), name)
    return statement, service.reopen().ledgers.get(name)


def agree(
    replica: Replica, statement: Statement, signers: Iterable[PrivateKey], name: str = "main"
) -> int:
    signed = [sign_statement(statement, key) for key in signers]
    return open_epoch(standstill(replica), name, statement, signed)


def lose(backups: Backups, kept: int = 3, lost: int = 4) -> tuple[Author, list[bytes], list[bytes]]:
    """Append notes, lose the last of them; return the author, receipts kept and receipts lost."""
    service = backups.service
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    before = [each.receipt for each in append_notes(ledger, author, kept, batch=1)]
    copy = backups.take()
    after = append_notes(service.open().ledgers.get("main"), author, lost, batch=1)
    backups.restore(copy)
    return author, before, [each.receipt for each in after]
