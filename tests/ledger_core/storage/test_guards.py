"""Ground truth is append-only below the application, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from ledger_core.errors import IntegrityError, StorageError
from ledger_core.ledger import Ledger
from ledger_core.storage.guards import check_guards
from tests.support.ledgers import Replica, Service, append_notes, register
from tests.support.tampering import drop_guards

CHANGES = {
    "entries": "leaf = leaf",
    "payloads": "data = data",
    "tiles": "hashes = hashes",
    "checkpoints": "root = root",
    "heads": "size = size",
    "ledgers": "name = name",
}
DELETES = [table for table in CHANGES if table != "payloads"]


@pytest.fixture
def replica(service: Service) -> Replica:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    append_notes(ledger, register(ledger), 260)
    return replica


def attempt(replica: Replica, statement: str) -> None:
    with replica.database.write() as tx:
        tx.execute(text(statement))


@pytest.mark.parametrize("table", CHANGES)
def test_no_row_can_be_changed_in(table: str, replica: Replica) -> None:
    with pytest.raises(StorageError, match=r"append-only|only grows"):
        attempt(replica, f"UPDATE {table} SET {CHANGES[table]}")


@pytest.mark.parametrize("table", DELETES)
def test_no_row_can_be_deleted_from(table: str, replica: Replica) -> None:
    with pytest.raises(StorageError, match="append-only"):
        attempt(replica, f"DELETE FROM {table}")


def test_no_row_can_be_replaced(replica: Replica) -> None:
    """REPLACE deletes without a word, unless SQLite is told to fire triggers for it too."""
    if replica.database.dialect.name == "postgresql":
        return
    for table in DELETES:
        with pytest.raises(StorageError):
            attempt(replica, f"REPLACE INTO {table} SELECT * FROM {table}")


@pytest.mark.parametrize("table", CHANGES)
def test_no_table_can_be_emptied_in_one_go(table: str, replica: Replica) -> None:
    """PostgreSQL alone has TRUNCATE; SQLite calls a DELETE without a condition that."""
    if replica.database.dialect.name == "sqlite":
        return
    with pytest.raises(StorageError, match="append-only"):
        attempt(replica, f"TRUNCATE {table} CASCADE")


def test_a_payload_is_deleted_only_if_it_is_noted_as_erased(replica: Replica) -> None:
    delete = 'DELETE FROM payloads WHERE "index" = 5'
    with pytest.raises(StorageError, match="append-only"):
        attempt(replica, delete)
    columns = 'ledger_id, "index", part, type, commitment, key_id, "by"'
    noted = "ledger_id, \"index\", part, 'note/1', data, key_id, data"
    attempt(replica, f"INSERT INTO erased ({columns}) SELECT {noted} FROM payloads")
    attempt(replica, delete)
    assert replica.ledgers.get("main").entry(5).parts == {}


def test_a_head_only_grows(replica: Replica) -> None:
    with pytest.raises(StorageError, match=r"only grow|append-only"):
        attempt(replica, "UPDATE heads SET size = size - 1")


@pytest.mark.parametrize("column", ["index", "previous", "record_id"])
def test_no_second_entry_can_take(column: str, replica: Replica) -> None:
    """The last line of defence: a place, a predecessor and an id are given once."""
    values = {"index": "1000", "previous": "'\\x01'", "record_id": "'\\x01'"}
    if replica.database.dialect.name == "sqlite":
        values = {"index": "1000", "previous": "x'01'", "record_id": "x'01'"}
    values[column] = f'"{column}"'
    with pytest.raises(StorageError, match=r"(?i)unique"):
        attempt(
            replica,
            f"INSERT INTO entries SELECT ledger_id, {values['index']}, {values['previous']}, "
            f'leaf_hash, {values["record_id"]}, leaf FROM entries WHERE "index" = 7',
        )


def test_the_doctor_sees_guards_that_stand_and_guards_that_fell(replica: Replica) -> None:
    check_guards(replica.database)
    with replica.database.write() as tx:
        if replica.database.dialect.name == "sqlite":
            drop_guards(tx)
        else:
            tx.execute(text("ALTER TABLE entries DISABLE TRIGGER USER"))
    with pytest.raises(IntegrityError, match="entries"):
        check_guards(replica.database)


@pytest.fixture
def whole(replica: Replica) -> Iterator[Ledger]:
    yield replica.ledgers.get("main")


def test_what_was_refused_left_nothing_behind(replica: Replica, whole: Ledger) -> None:
    before = whole.checkpoint()
    with pytest.raises(StorageError):
        attempt(replica, "DELETE FROM checkpoints")
    assert whole.checkpoint() == before
    assert append_notes(whole, register(whole), 1)[0].index == 263
