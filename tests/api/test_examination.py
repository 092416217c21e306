"""The doctor finds what is wrong, and finds nothing where nothing is."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from api.examination import examine
from api.settings import Settings
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.storage.key_ids import read_key_ids
from tests.api.live import Author, running
from tests.api.test_reading import fill
from tests.api.test_serving import sign_ahead


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Give a service that has stopped, with some hundred entries."""
    chosen = Settings(data=tmp_path / "data")
    with running(chosen) as live:
        fill(live, 300, live.register(Author(live.main)))
    return chosen


def found(settings: Settings, newest: int = 100) -> dict[str, str]:
    return {name: trouble for name, trouble in examine(settings, newest) if trouble}


def sql(settings: Settings, *statements: str) -> None:
    with sqlite3.connect(str(settings.sqlite_file)) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_healthy_service_has_nothing(settings: Settings) -> None:
    assert found(settings) == {}


def test_the_doctor_says_how_many_keys_seal_nothing(settings: Settings) -> None:
    names = [name for name, _ in examine(settings, 10)]
    (said,) = [name for name in names if name.startswith("payloads have their keys")]
    keys, unused = re.findall(r"([\d,]+) (?:in|seal)", said)
    assert int(keys.replace(",", "")) - int(unused.replace(",", "")) == 300


def test_keys_that_were_destroyed_are_no_trouble(settings: Settings) -> None:
    with running(settings) as live:
        keys = live.service.ledgers.payloads.keys
        with live.service.database.read() as tx:
            [lost] = read_key_ids(tx, 1, 300, 301).values()
        keys.destroy({b"commitment": lost}, bytes(32))
    assert found(settings) == {}


Harm = Callable[[Settings], None]


def _open_folder(settings: Settings) -> None:
    settings.data.chmod(0o755)


def _open_keys(settings: Settings) -> None:
    settings.keyring_file.chmod(0o644)


def _lose_memory(settings: Settings) -> None:
    (settings.data / "signer.db").unlink()


def _lose_key_store(settings: Settings) -> None:
    (settings.data / "keys.db").unlink()


def _open_key_store(settings: Settings) -> None:
    (settings.data / "keys.db").chmod(0o640)


def _other_key_store(settings: Settings) -> None:
    _lose_key_store(settings)
    DatabaseKeyStore(settings.key_store_url).close()


def _old_schema(settings: Settings) -> None:
    sql(settings, "UPDATE alembic_version SET version_num = '0000'")


def _drop_guard(settings: Settings) -> None:
    sql(settings, "DROP TRIGGER entries_no_delete")


def _restore(settings: Settings) -> None:
    with running(settings) as live:
        origin = live.main.origin
    sign_ahead(settings, origin, 500)


def _fork(settings: Settings) -> None:
    with running(settings) as live:
        origin = live.main.origin
    sign_ahead(settings, origin, 50)


def _tamper(settings: Settings) -> None:
    sql(
        settings,
        "DROP TRIGGER entries_no_update",
        'UPDATE entries SET leaf = CAST(replace(leaf, "note", "nota") AS BLOB) WHERE "index" = 290',
    )


def _future(settings: Settings) -> None:
    sql(
        settings,
        "DROP TRIGGER entries_no_update",
        """UPDATE entries SET leaf = CAST(replace(leaf, '\n20', '\n90') AS BLOB)
           WHERE "index" = 301""",
    )


@pytest.mark.parametrize(
    ("harm", "name", "said"),
    [
        (_open_folder, "data folder and keys", "chmod"),
        (_open_keys, "data folder and keys", "keyring is open to others"),
        (_lose_memory, "data folder and keys", "signer.db is missing"),
        (_lose_key_store, "data folder and keys", "keys.db is missing"),
        (_open_key_store, "data folder and keys", "keys.db is open to others"),
        (_other_key_store, "payloads have their keys", "never had the key of entry"),
        (_old_schema, "database answers", "schema"),
        (_drop_guard, "ground truth is append-only", "delete rows of entries"),
        (_restore, "signer's memory", "size 500 was signed"),
        (_fork, "signer's memory", "another root at size 50"),
        (_tamper, "newest entries", "entry 290"),
        (_future, "clock is sane", "clock says"),
    ],
)
def test_what_is_wrong_is_found_and_named(
    settings: Settings, harm: Harm, name: str, said: str
) -> None:
    harm(settings)
    trouble = found(settings)
    (described,) = [text for check, text in trouble.items() if check.startswith(name)]
    assert said in described


def test_a_part_that_is_gone_without_an_order_is_named(settings: Settings) -> None:
    sql(settings, "DROP TRIGGER payloads_no_delete", 'DELETE FROM payloads WHERE "index" = 290')
    told = found(settings)["payload parts are there, or erased by an order"]
    assert "entry 290: part body is missing" in told


def test_what_was_erased_and_is_there_again_is_named(settings: Settings) -> None:
    noted = (
        "INSERT INTO erased SELECT ledger_id, \"index\", part, 'note/1', x'00', key_id, x'01' "
        'FROM payloads WHERE "index" = 290'
    )
    sql(settings, noted)
    assert "part body of entry 290" in found(settings)["what was erased is destroyed"]
    sql(settings, 'DELETE FROM payloads WHERE "index" = 290')
    assert "part body of entry 290" in found(settings)["what was erased is destroyed"]
