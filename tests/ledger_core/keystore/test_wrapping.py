"""Wrapped keys: of no use without their service, out of memory when their time is up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from ledger_core.errors import StorageError
from ledger_core.formats.sealed import KEY_BYTES
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.keystore.model import DataKey, make_keys
from ledger_core.keystore.vault import VaultTransit
from ledger_core.keystore.wrapping import CACHED_S, WrappedKeyStore
from tests.support.vault import FakeVault, a_vault, place_of

ORDER = bytes(range(32))


class Watch:
    """A clock in seconds that the test turns."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with a_vault() as vault:
        yield vault


@pytest.fixture
def url(empty_database_url: str) -> str:
    return empty_database_url


@pytest.fixture
def watch() -> Watch:
    return Watch()


def opened(url: str, vault: FakeVault, folder: Path, watch: Watch) -> WrappedKeyStore:
    return WrappedKeyStore(DatabaseKeyStore(url), VaultTransit(place_of(vault, folder)), watch)


@pytest.fixture
def store(url: str, vault: FakeVault, tmp_path: Path, watch: Watch) -> Iterator[WrappedKeyStore]:
    with closing(opened(url, vault, tmp_path, watch)) as store:
        yield store


def as_found(keys: Sequence[DataKey]) -> dict[bytes, bytes]:
    return {key.id: key.key for key in keys}


def test_keys_come_back_as_they_were_also_in_another_process(
    store: WrappedKeyStore, url: str, vault: FakeVault, tmp_path: Path, watch: Watch
) -> None:
    keys = make_keys(2_500)
    store.add(keys)
    assert [count for _, count in vault.asked] == [1_000, 1_000, 500]
    with closing(opened(url, vault, tmp_path, watch)) as other:
        assert other.find([key.id for key in keys]) == as_found(keys)
        assert other.count() == 2_500
        assert other.find_unknown([keys[0].id, bytes(16)]) == {bytes(16)}


def test_without_the_service_the_key_store_holds_no_key(store: WrappedKeyStore, url: str) -> None:
    keys = make_keys(10)
    store.add(keys)
    with closing(DatabaseKeyStore(url)) as stolen:
        found = stolen.find([key.id for key in keys])
    assert len(found) == 10
    assert not any(key.key in kept for key in keys for kept in found.values())
    assert not any(len(kept) == KEY_BYTES for kept in found.values())


def test_keys_used_lately_are_not_asked_for_again_until_their_time_is_up(
    store: WrappedKeyStore, vault: FakeVault, watch: Watch
) -> None:
    keys = make_keys(3)
    store.add(keys)
    wanted = [key.id for key in keys]
    asked = len(vault.asked)
    for watch.now_s in (0.0, CACHED_S - 1):
        assert store.find(wanted) == as_found(keys)
    assert len(vault.asked) == asked
    watch.now_s = CACHED_S
    assert store.find(wanted) == as_found(keys)
    assert len(vault.asked) == asked + 1


def test_a_destroyed_key_is_out_of_memory_at_once(store: WrappedKeyStore) -> None:
    lost, kept = make_keys(2)
    store.add([lost, kept])
    store.destroy({b"commitment": lost.id}, ORDER)
    assert store.find([lost.id, kept.id]) == {kept.id: kept.key}
    assert lost.id not in store._cache._keys
    assert store.find_destroyed([b"commitment"]) == {b"commitment": ORDER}


def test_a_key_destroyed_elsewhere_is_out_of_memory_within_a_minute(
    store: WrappedKeyStore, url: str, watch: Watch
) -> None:
    (lost,) = make_keys(1)
    store.add([lost])
    with closing(DatabaseKeyStore(url)) as other:
        other.destroy({b"commitment": lost.id}, ORDER)
    watch.now_s = CACHED_S
    assert store.find([lost.id]) == {}
    assert not store._cache._keys


def test_a_key_looked_up_before_its_destruction_is_not_remembered_after_it(
    url: str, vault: FakeVault, tmp_path: Path, watch: Watch
) -> None:
    """The service answers late: the key was destroyed meanwhile."""
    (lost,) = make_keys(1)

    class Late(VaultTransit):
        def unwrap(self, wrapped: Sequence[bytes]) -> list[bytes]:
            keys = super().unwrap(wrapped)
            late.destroy({b"commitment": lost.id}, ORDER)
            return keys

    with closing(DatabaseKeyStore(url)) as inner:
        late = WrappedKeyStore(inner, Late(place_of(vault, tmp_path)), watch)
        late.add([lost])
        watch.now_s = CACHED_S
        assert late.find([lost.id]) == as_found([lost])
        assert late.find([lost.id]) == {}
        late.close()


def test_keys_from_before_there_was_a_wrapper_are_still_found(
    store: WrappedKeyStore, url: str, vault: FakeVault
) -> None:
    old, new = make_keys(3), make_keys(3)
    with closing(DatabaseKeyStore(url)) as before:
        before.add(old)
    store.add(new)
    assert store.find([key.id for key in old + new]) == as_found(old + new)


def test_a_service_that_fails_is_an_error_and_not_an_absence(
    store: WrappedKeyStore, vault: FakeVault, watch: Watch
) -> None:
    keys = make_keys(1)
    store.add(keys)
    watch.now_s = CACHED_S
    vault.answer = lambda vault, verb, asked: (503, b"")
    with pytest.raises(StorageError):
        store.find([keys[0].id])
    with pytest.raises(StorageError):
        store.add(make_keys(1))
    assert store.count() == 1


def test_of_a_destroyed_wrapped_key_nothing_is_in_any_file(
    vault: FakeVault, tmp_path: Path, watch: Watch
) -> None:
    url = f"sqlite:///{tmp_path / 'keys.db'}"
    lost, kept = make_keys(2)
    with closing(opened(url, vault, tmp_path, watch)) as store:
        store.add([lost, kept])
        with closing(DatabaseKeyStore(url)) as plain:
            wrapped = plain.find([lost.id])[lost.id]
        assert any(wrapped in file.read_bytes() for file in tmp_path.iterdir())
        store.destroy({b"commitment": lost.id}, ORDER)
        assert not any(wrapped in file.read_bytes() for file in tmp_path.iterdir())


def test_only_so_many_keys_are_remembered(
    store: WrappedKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger_core.keystore.wrapping._CACHED_KEYS", 10)
    keys = make_keys(30)
    store.add(keys)
    assert len(store._cache._keys) == 10
    assert store.find([key.id for key in keys]) == as_found(keys)
