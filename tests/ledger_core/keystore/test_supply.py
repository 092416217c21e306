"""Keys lie ready before they are needed: durable, each handed out once."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from ledger_core.errors import StorageError
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.keystore.model import DataKey
from ledger_core.keystore.supply import KeySupply


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DatabaseKeyStore]:
    with closing(DatabaseKeyStore(f"sqlite:///{tmp_path / 'keys.db'}")) as store:
        yield store


@pytest.fixture
def supply(store: DatabaseKeyStore) -> Iterator[KeySupply]:
    with closing(KeySupply(store)) as supply:
        yield supply


@pytest.mark.parametrize("count", [0, 1, 64, 65, 5_000])
def test_as_many_keys_as_are_asked_for_are_in_the_store(
    count: int, supply: KeySupply, store: DatabaseKeyStore
) -> None:
    keys = supply.take(count)
    assert store.find([key.id for key in keys]) == {key.id: key.key for key in keys}
    assert len(keys) == count


def test_a_key_is_handed_out_once_however_many_ask(supply: KeySupply) -> None:
    with ThreadPoolExecutor(8) as threads:
        taken = [key.id for keys in threads.map(supply.take, [7] * 300) for key in keys]
    assert len(taken) == len(set(taken)) == 2_100


def test_keys_that_were_not_used_are_handed_out_again(
    supply: KeySupply, store: DatabaseKeyStore
) -> None:
    for _ in range(200):
        supply.give_back(supply.take(10))
    assert store.count() <= 128


def test_an_append_waits_for_no_key_store_while_keys_lie_ready(supply: KeySupply) -> None:
    """What is used up is made in the background, more at a time the faster it goes."""
    supply.take(1)
    for _ in range(50):
        supply.take(20)
        supply.close()
    assert len(supply._ready) >= 64


class Broken(DatabaseKeyStore):
    """A key store whose disk is full."""

    def add(self, keys: Collection[DataKey]) -> None:
        raise StorageError("full")


def test_who_needs_a_key_hears_why_there_is_none(tmp_path: Path) -> None:
    with closing(Broken(f"sqlite:///{tmp_path / 'keys.db'}")) as store:
        supply = KeySupply(store)
        for _ in range(2):
            with pytest.raises(StorageError, match="full"):
                supply.take(1)


def test_a_key_store_that_fails_in_the_background_is_met_by_whoever_needs_it(
    supply: KeySupply, store: DatabaseKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    supply.take(1)
    monkeypatch.setattr(supply, "_store", Broken(str(store._database.engine.url)))
    supply.take(60)
    supply.close()
    assert len(supply.take(3)) == 3
    with pytest.raises(StorageError, match="full"):
        supply.take(1)
    assert not [each for each in threading.enumerate() if each.name == "keys"]
