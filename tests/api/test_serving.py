"""Starting a service: first things for a fresh one, one service a file, nothing upon a fork."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.serving import prepare, sole_service
from api.settings import Settings
from ledger_core.errors import ForkError, IntegrityError, SettingsError
from ledger_core.merkle.tree import leaf_hash
from ledger_core.storage.database import open_database
from ledger_core.storage.signer_memory import Signed, SignerMemory
from tests.api.live import ROUTE, Author, problem, running


def sign_ahead(settings: Settings, origin: str, size: int = 50) -> None:
    """Leave the memory of a checkpoint that the database does not have, as a restore does."""
    database = open_database(settings.signer_memory_url)
    memory = SignerMemory(database)
    assert memory.advance(origin, memory.recall(origin), Signed(size, leaf_hash(b"lost")))
    database.close()


def test_a_fresh_service_gets_a_ledger_and_a_token_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data=tmp_path / "data")
    prepare(settings, degraded=False)
    first = capsys.readouterr().out
    prepare(settings, degraded=False)
    second = capsys.readouterr().out
    assert "main" in first
    assert "lgt_" in first
    assert "lgt_" not in second
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_a_file_is_served_by_one_service(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with sole_service(file), pytest.raises(SettingsError, match="another"), sole_service(file):
        pass
    with sole_service(file):
        pass


def test_a_restored_backup_is_not_served_unless_asked_for(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    with running(settings) as live:
        origin = live.main.origin
    sign_ahead(settings, origin)
    with pytest.raises(ForkError, match="size 50 was signed"):
        prepare(settings, degraded=False)
    prepare(settings, degraded=True)


def test_another_key_store_than_that_of_the_newest_payloads_is_not_served_unless_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data=tmp_path / "data")
    with running(settings) as live, live.http() as http:
        author = live.author()
        assert http.post(f"{ROUTE}/main/records", content=author.line()).status_code == 201
    prepare(settings, degraded=False)
    for file in (tmp_path / "data").glob("keys.db*"):
        file.unlink()
    with pytest.raises(IntegrityError, match="main: the key store never had the key of entry 2"):
        prepare(settings, degraded=False)
    prepare(settings, degraded=True)
    assert "payloads cannot be read" in capsys.readouterr().out


def test_an_older_copy_of_the_key_store_is_noticed(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    with running(settings) as live, live.http() as http:
        author = live.author()
        assert http.post(f"{ROUTE}/main/records", content=author.line()).status_code == 201
    copy = (tmp_path / "data" / "keys.db").read_bytes()
    with running(settings) as live, live.http() as http:
        assert http.post(f"{ROUTE}/main/records", content=author.line()).status_code == 201
    (tmp_path / "data" / "keys.db").write_bytes(copy)
    with pytest.raises(IntegrityError, match="entry 3"):
        prepare(settings, degraded=False)


def test_a_restored_backup_is_read_but_nothing_is_signed_on_top_of_it(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    with running(settings) as live:
        author = live.register(Author(live.main))
        size, origin = live.main.size(), live.main.origin
    sign_ahead(settings, origin)
    with running(settings) as live, live.http("reader") as http:
        status, code = problem(http.post(f"{ROUTE}/main/records", content=author.line()))
        assert status == 503
        assert code in ("read-only", "fork")
        assert http.get(f"{ROUTE}/main/entries/1").status_code == 200
        assert live.main.size() == size
