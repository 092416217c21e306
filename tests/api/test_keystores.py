"""The key store of the settings: a database of its own, wrapped where Vault is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from api.keystores import open_key_store
from api.settings import Settings, load_settings
from ledger_core.errors import SettingsError
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.keystore.model import make_keys
from tests.api.live import ROUTE, running
from tests.support.vault import TOKEN, FakeVault, a_vault, place_of


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with a_vault() as vault:
        yield vault


def test_it_is_a_file_in_the_data_folder_unless_another_is_named(tmp_path: Path) -> None:
    for settings in (
        Settings(data=tmp_path / "data"),
        load_settings(data=tmp_path, key_store=f"sqlite:///{tmp_path / 'elsewhere.db'}"),
    ):
        with closing(open_key_store(settings)) as store:
            store.add(make_keys(1))
            assert settings.key_store_file is not None
            assert settings.key_store_file.exists()


@pytest.mark.parametrize("same_as", ["database", "signer_memory"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://me:secret@db/ledgers", "postgresql://me:secret@db/ledgers"),
        ("postgresql://me:secret@db/ledgers", "postgresql+psycopg://you@db:5432/ledgers"),
        ("postgresql:///ledgers?host=/run/pg&user=secret", "postgresql:///ledgers?host=/run/pg"),
        ("sqlite:////srv/secret/ledger.db", "sqlite:////srv/other/../secret/ledger.db"),
    ],
)
def test_it_is_a_database_of_its_own(same_as: str, one: str, other: str) -> None:
    settings = load_settings(key_store=one, **{same_as: other})
    with pytest.raises(SettingsError, match="KEY_STORE must be a database of its own") as caught:
        open_key_store(settings)
    assert "secret" not in str(caught.value)


def test_a_password_in_its_url_is_not_shown() -> None:
    assert "secret" not in repr(load_settings(key_store="postgresql://me:secret@db/keys"))


@pytest.mark.parametrize(
    ("chosen", "needed"),
    [
        ({"vault_url": "https://vault.example"}, "VAULT_TOKEN_FILE"),
        ({"vault_token_file": "/run/token"}, "VAULT_URL"),
    ],
)
def test_half_of_what_vault_needs_is_named(
    tmp_path: Path, chosen: dict[str, str], needed: str
) -> None:
    with pytest.raises(SettingsError, match=needed):
        open_key_store(load_settings(data=tmp_path, **chosen))


def test_a_service_with_vault_seals_and_opens_and_keeps_no_key_in_the_clear(
    tmp_path: Path, vault: FakeVault
) -> None:
    place = place_of(vault, tmp_path)
    settings = Settings(
        data=tmp_path / "data", vault_url=vault.url, vault_token_file=str(place.token_file)
    )
    with running(settings) as live, live.http("reader") as http:
        author = live.author()
        assert http.post(f"{ROUTE}/main/records", content=author.line()).status_code == 201
        index = live.main.size() - 1
        part = http.get(f"{ROUTE}/main/entries/{index}").json()["parts"]["body"]
        assert part["status"] == "present"
        vault.answer = lambda vault, verb, asked: (503, b"")
        # Keys that lie ready do not need it.
        assert http.post(f"{ROUTE}/main/records", content=author.line()).status_code == 201
    with closing(DatabaseKeyStore(settings.key_store_url)) as store:
        with live.service.database.read() as tx:
            key_ids = [
                bytes(row[0])
                for row in tx.exec_driver_sql("SELECT key_id FROM payloads")
                if row[0] is not None
            ]
        found = store.find(key_ids)
    assert len(found) == 2
    assert all(kept.startswith(b"vault:v1:") for kept in found.values())
    assert not any(TOKEN.encode() in f.read_bytes() for f in (tmp_path / "data").iterdir())


def test_a_service_whose_vault_is_away_says_so_and_loses_nothing(
    tmp_path: Path, vault: FakeVault
) -> None:
    place = place_of(vault, tmp_path)
    settings = Settings(
        data=tmp_path / "data", vault_url=vault.url, vault_token_file=str(place.token_file)
    )
    vault.answer = lambda vault, verb, asked: (503, b"")
    with running(settings) as live, live.http("reader") as http:
        author = live.author()
        line = author.line()
        answer = http.post(f"{ROUTE}/main/records", content=line)
        assert (answer.status_code, answer.json()["code"]) == (503, "storage")
        assert TOKEN not in answer.text
        vault.answer = FakeVault().answer
        assert http.post(f"{ROUTE}/main/records", content=line).status_code == 201
