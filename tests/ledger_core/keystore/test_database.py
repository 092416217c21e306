"""A key store keeps what it is given, and of what it destroys nothing: on both databases."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from ledger_core.errors import StorageError
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.keystore.model import KEY_ID_BYTES, DataKey, make_keys

ORDER = bytes(range(32))


@pytest.fixture
def url(empty_database_url: str) -> str:
    return empty_database_url


@pytest.fixture
def store(url: str) -> Iterator[DatabaseKeyStore]:
    with closing(DatabaseKeyStore(url)) as store:
        yield store


def ids_of(keys: list[DataKey]) -> list[bytes]:
    return [key.id for key in keys]


def test_keys_are_found_by_their_ids_also_by_another_process(
    store: DatabaseKeyStore, url: str
) -> None:
    keys = make_keys(1_000)
    store.add(keys)
    with closing(DatabaseKeyStore(url)) as other:
        assert other.find(ids_of(keys)) == {key.id: key.key for key in keys}
        assert other.find(ids_of(keys[:3])) == {key.id: key.key for key in keys[:3]}
        assert other.count() == 1_000


def test_what_is_not_there_is_not_found(store: DatabaseKeyStore) -> None:
    assert store.find([]) == store.find([bytes(KEY_ID_BYTES)]) == {}
    assert store.find_destroyed([]) == store.find_destroyed([bytes(32)]) == {}


def test_a_destroyed_key_is_not_found_and_leaves_a_tombstone(store: DatabaseKeyStore) -> None:
    lost, kept = make_keys(2)
    store.add([lost, kept])
    store.destroy({b"commitment": lost.id}, ORDER)
    assert store.find([lost.id, kept.id]) == {kept.id: kept.key}
    assert store.find_destroyed([b"commitment", b"another"]) == {b"commitment": ORDER}
    assert store.count() == 1


def test_destroying_again_changes_nothing_and_the_first_order_stands(
    store: DatabaseKeyStore,
) -> None:
    (lost,) = make_keys(1)
    store.add([lost])
    for order in (ORDER, bytes(32)):
        store.destroy({b"commitment": lost.id}, order)
    assert store.find([lost.id]) == {}
    assert store.find_destroyed([b"commitment"]) == {b"commitment": ORDER}


def test_a_tombstone_can_be_set_where_no_key_is(store: DatabaseKeyStore) -> None:
    store.destroy({b"without": None, b"unknown": bytes(KEY_ID_BYTES)}, ORDER)
    assert store.find_destroyed([b"without", b"unknown"]) == {b"without": ORDER, b"unknown": ORDER}


def test_nothing_to_destroy_is_nothing_done(store: DatabaseKeyStore) -> None:
    store.destroy({}, ORDER)
    assert store.count() == 0


def test_a_destroyed_key_never_comes_back_under_its_id(store: DatabaseKeyStore) -> None:
    (lost,) = make_keys(1)
    store.add([lost])
    store.destroy({b"commitment": lost.id}, ORDER)
    with pytest.raises(StorageError):
        store.add([lost])


def test_no_two_keys_and_no_two_ids_are_alike() -> None:
    keys = make_keys(5_000)
    assert len({key.id for key in keys}) == len({key.key for key in keys}) == 5_000


# --- nothing of a destroyed key is left in a file ------------------------------------


def found_in(folder: Path, wanted: bytes) -> list[str]:
    return [file.name for file in sorted(folder.iterdir()) if wanted in file.read_bytes()]


def test_a_destroyed_key_is_in_no_file_and_the_others_still_are(tmp_path: Path) -> None:
    """Keys are destroyed in any order, a few or a page at a time, while others are added."""
    at = random.Random(7)
    folder = tmp_path / "keys"
    with closing(DatabaseKeyStore(f"sqlite:///{folder / 'keys.db'}")) as store:
        kept: list[DataKey] = []
        for _ in range(12):
            new = make_keys(at.choice((1, 30, 400)))
            store.add(new)
            kept += new
            at.shuffle(kept)
            lost = [kept.pop() for _ in range(min(len(kept), at.choice((1, 7, 250))))]
            assert all(found_in(folder, key.key) for key in lost)
            store.destroy({os.urandom(32): key.id for key in lost}, ORDER)
            assert [found_in(folder, key.key) for key in lost] == [[]] * len(lost)
        assert store.find(ids_of(kept)) == {key.id: key.key for key in kept}


def test_a_key_destroyed_while_others_read_is_in_no_file(tmp_path: Path) -> None:
    """Another process keeps the file open: its reads must not keep the log from being emptied."""
    url = f"sqlite:///{tmp_path / 'keys.db'}"
    lost, kept = make_keys(2)
    with closing(DatabaseKeyStore(url)) as store, closing(DatabaseKeyStore(url)) as other:
        store.add([lost, kept])
        assert other.find([lost.id, kept.id]) != {}
        store.destroy({b"commitment": lost.id}, ORDER)
        assert found_in(tmp_path, lost.key) == []
        assert other.find([lost.id, kept.id]) == {kept.id: kept.key}


def test_a_destruction_that_a_long_read_keeps_from_being_complete_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once it is done again, nothing is left."""
    monkeypatch.setattr("ledger_core.keystore.database._SCRUB_S", 0.2)
    monkeypatch.setattr("ledger_core.storage.sqlite.BUSY_TIMEOUT_S", 0.1)
    url = f"sqlite:///{tmp_path / 'keys.db'}"
    (lost,) = make_keys(1)
    with closing(DatabaseKeyStore(url)) as store:
        store.add([lost])
        reader = create_engine(url)
        with reader.connect() as tx:
            tx.execute(text("BEGIN"))
            assert tx.execute(text("SELECT count(*) FROM keys")).scalar_one() == 1
            with pytest.raises(StorageError, match="others still read"):
                store.destroy({b"commitment": lost.id}, ORDER)
            assert store.find([lost.id]) == {}
        reader.dispose()
        store.destroy({b"commitment": lost.id}, ORDER)
        assert found_in(tmp_path, lost.key) == []


def test_the_files_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    with closing(DatabaseKeyStore(f"sqlite:///{tmp_path / 'keys.db'}")) as store:
        store.add(make_keys(1))
        files = [file for file in tmp_path.iterdir() if file.name.startswith("keys.db")]
        assert len(files) >= 3
        assert [file.name for file in files if file.stat().st_mode & 0o077] == []


def test_on_postgresql_no_query_finds_anything_of_a_destroyed_key(
    empty_postgresql_url: str,
) -> None:
    (lost,) = make_keys(1)
    with closing(DatabaseKeyStore(empty_postgresql_url)) as store:
        store.add([lost])
        store.destroy({b"commitment": lost.id}, ORDER)
    engine = create_engine(make_url(empty_postgresql_url))
    with engine.connect() as tx:
        rows = tx.execute(text("SELECT key, is_destroyed FROM keys")).all()
        assert [(bytes(row[0]), row[1]) for row in rows] == [(b"", 1)]
    engine.dispose()
