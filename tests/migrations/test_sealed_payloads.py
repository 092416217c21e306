"""A database from before payloads were sealed: what is in it stays, in the clear and readable."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from ledger_core.errors import StorageError
from ledger_core.storage.database import _alembic_config, open_database
from tests.support.invariants import check_everything
from tests.support.ledgers import Service, append_notes, appended, register
from tests.support.tampering import drop_guards

BEFORE, THIS = "0009", "0006"
TO_PLAIN = (
    "UPDATE payloads SET salt = {salt}, data = {data}, key_id = NULL "
    "WHERE \"index\" = {index} AND part = 'body'"
)


AS_IT_WAS = {
    "sqlite": (
        "CREATE TABLE old (ledger_id INTEGER NOT NULL REFERENCES ledgers (ledger_id), "
        '"index" BIGINT NOT NULL, part TEXT NOT NULL, salt BLOB NOT NULL, '
        'data BLOB NOT NULL, PRIMARY KEY (ledger_id, "index", part))',
        'INSERT INTO old SELECT ledger_id, "index", part, salt, data FROM payloads',
        "DROP TABLE payloads",
        "ALTER TABLE old RENAME TO payloads",
    ),
    "postgresql": (
        "ALTER TABLE payloads DROP COLUMN key_id",
        "ALTER TABLE payloads ALTER COLUMN salt SET NOT NULL",
    ),
}


def migrate_anew(url: str, parts: dict[int, tuple[bytes, bytes]]) -> None:
    """Make the table as it was, every part in the clear, and have the migration change it again."""
    database = open_database(url)
    blob = "x'{}'" if database.dialect.name == "sqlite" else "'\\x{}'"
    with database.write() as tx:
        drop_guards(tx)
        for index, (salt, data) in parts.items():
            shown = {"salt": blob.format(salt.hex()), "data": blob.format(data.hex())}
            tx.exec_driver_sql(TO_PLAIN.format(**shown, index=index))
        for statement in AS_IT_WAS[database.dialect.name]:
            tx.execute(text(statement))
    with database.engine.connect() as connection:
        newest = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{BEFORE}'"))
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, THIS)
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{newest}'"))
        connection.commit()
    database.close()


def test_what_was_stored_in_the_clear_is_read_on_and_new_payloads_are_sealed(
    service: Service, tmp_path: Path
) -> None:
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    places = append_notes(ledger, author, 20)
    before = ledger.entries(range(ledger.size()))
    service.close()
    parts = {e.index: (e.parts["body"].salt, e.parts["body"].data) for e in before}
    migrate_anew(service.database_url, parts)

    replica = service.open()
    ledger = replica.ledgers.get("main")
    assert ledger.entries(range(len(before))) == before
    new = appended(ledger.append([author.note("new")])[0])
    with replica.database.read() as tx:
        rows = tx.execute(text('SELECT "index" FROM payloads WHERE key_id IS NOT NULL')).scalars()
        assert rows.all() == [new.index]
    assert ledger.receipt(places[0].index) == places[0].receipt
    check_everything(replica, ledger, tmp_path)


def test_the_migrated_table_is_guarded_as_before(service: Service) -> None:
    replica = service.open()
    append_notes(ledger := replica.ledgers.create("main"), register(ledger), 3)
    for statement in (
        "UPDATE payloads SET data = data",
        "UPDATE payloads SET key_id = key_id",
    ):
        with pytest.raises(StorageError, match="append-only"), replica.database.write() as tx:
            tx.execute(text(statement))


@pytest.mark.parametrize("values", ["NULL, {b}, NULL", "{b}, {b}, {b}"])
def test_a_part_that_is_neither_sealed_nor_in_the_clear_cannot_be_stored(
    values: str, service: Service
) -> None:
    replica = service.open()
    replica.ledgers.create("main")
    is_sqlite = replica.database.dialect.name == "sqlite"
    shown = values.format(b="x'00'" if is_sqlite else "'\\x00'")
    insert = f"INSERT INTO payloads SELECT ledger_id, 0, 'other', {shown} FROM ledgers"
    with pytest.raises(StorageError, match="sealed_or_in"), replica.database.write() as tx:
        tx.execute(text(insert))
