"""A disk that is full or broken, under SQLite: nothing acknowledged is lost or half there."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from ledger_core.errors import OutcomeUnknownError, ReadOnlyError, StorageError
from ledger_core.ledger import Ledger
from tests.support import syscalls
from tests.support.invariants import check_everything
from tests.support.ledgers import (
    Author,
    Replica,
    Service,
    append_notes,
    appended,
    checked_receipt,
    register,
)
from tests.support.syscalls import with_failing

pytestmark = pytest.mark.skipif(not syscalls.IS_POSSIBLE, reason="needs seccomp")


@pytest.fixture
def service(sqlite_url: str, tmp_path: Path) -> Service:
    return Service(sqlite_url, tmp_path)


def begin(service: Service) -> tuple[Replica, Ledger, Author]:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    author = register(ledger)
    append_notes(ledger, author, 3)
    return replica, ledger, author


def test_a_full_disk_refuses_and_once_there_is_room_the_same_record_goes_in(
    service: Service, tmp_path: Path
) -> None:
    replica, ledger, author = begin(service)
    sealed = author.note("x" * 20_000)
    for _ in range(3):
        error = with_failing(["pwrite64"], errno.ENOSPC, lambda: ledger.append([sealed]))
        assert isinstance(error, StorageError)
        assert "full" in str(error)
    assert ledger.size() == 5
    assert appended(ledger.append([sealed])[0]).index == 5
    check_everything(replica, ledger, tmp_path)
    service.close()


@pytest.mark.parametrize("calls", [("fsync", "fdatasync"), ("pwrite64",)])
def test_a_commit_that_the_disk_breaks_off_is_unknown_and_the_process_writes_no_more(
    service: Service, tmp_path: Path, calls: tuple[str, ...]
) -> None:
    """After a failed fsync nobody knows what is on the disk: not tried again, but restarted."""
    _, ledger, author = begin(service)
    sealed = author.note("on its way")
    error = with_failing(calls, errno.EIO, lambda: ledger.append([sealed]))
    assert isinstance(error, OutcomeUnknownError)
    with pytest.raises(ReadOnlyError, match="restart"):
        ledger.append([author.note("too early")])
    assert ledger.entry(4).index == 4

    replica = service.reopen()
    ledger = replica.ledgers.get("main")
    place = appended(ledger.append([sealed])[0])
    assert ledger.index_of(sealed.signed.record.id) == place.index
    check_everything(replica, ledger, tmp_path)
    service.close()


def test_a_record_whose_checkpoint_could_not_be_remembered_is_stored_and_resolved_by_its_id(
    service: Service, tmp_path: Path
) -> None:
    replica, ledger, author = begin(service)
    sealed = author.note("stored but not signed")
    with sqlite3.connect(tmp_path / "signer.db") as memory:
        memory.execute("ALTER TABLE signed RENAME TO lost")
    with pytest.raises(OutcomeUnknownError, match="stored"):
        ledger.append([sealed])
    with pytest.raises(StorageError):
        ledger.checkpoint()
    with sqlite3.connect(tmp_path / "signer.db") as memory:
        memory.execute("ALTER TABLE lost RENAME TO signed")
    memory.close()
    again = appended(ledger.append([sealed])[0])
    assert (again.index, again.is_new) == (5, False)
    checked_receipt(ledger, 5, again.receipt)
    check_everything(replica, ledger, tmp_path)
    service.close()
