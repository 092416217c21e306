"""Backups hold what they say, and are put back where nothing is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from ledger_core import backups, ids
from ledger_core.backups import Manifest, back_up, compare, format_manifest, read_backup, restore
from ledger_core.errors import IntegrityError, MalformedError, NotFoundError, SettingsError
from ledger_core.storage.database import open_database
from tests.support.backups import begin_epoch
from tests.support.ledgers import Replica, Service, append_notes, register
from tests.support.postgresql import installations


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find pg_dump where the tests' PostgreSQL is."""
    folder = next(installations(), None)
    if folder is not None:
        monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.fixture
def empty_url(service: Service, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Name an empty database of the service's kind."""
    if service.database_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'elsewhere' / 'ledger.db'}"
        return
    server = request.getfixturevalue("postgresql_server")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


def fill(replica: Replica, count: int = 5) -> None:
    for name in ("main", "other"):
        ledger = replica.ledgers.create(name)
        append_notes(ledger, register(ledger), count)


def roots(manifest: Manifest) -> dict[str, tuple[int, str]]:
    return {each.name: (each.size, each.root) for each in manifest.ledgers}


def test_what_is_restored_is_what_was_backed_up_and_goes_on(
    service: Service, tmp_path: Path, empty_url: str
) -> None:
    replica = service.open()
    fill(replica)
    made = back_up(replica.database, tmp_path / "backup", service.clock)
    assert roots(made).keys() == {"main", "other"}
    checkpoint = replica.ledgers.get("main").checkpoint()
    service.close()
    assert restore(tmp_path / "backup", empty_url) == made
    service.database_url = empty_url
    replica = service.open()
    assert replica.ledgers.check_signed() == []
    assert replica.ledgers.get("main").checkpoint() == checkpoint
    standings = compare(replica.database, replica.memory)
    assert [(each.name, each.size, each.behind) for each in standings] == [
        ("main", 7, 0),
        ("other", 7, 0),
    ]
    append_notes(replica.ledgers.get("main"), register(replica.ledgers.get("main")), 2)


def test_a_backup_made_while_records_come_in_is_one_moment_of_the_log(
    service: Service, tmp_path: Path, empty_url: str
) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    author = register(ledger)
    append_notes(ledger, author, 300)
    is_over = threading.Event()
    counted: list[int] = []

    def go_on() -> None:
        while not is_over.is_set():
            counted.append(len(append_notes(ledger, author, 3)))

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        made = back_up(replica.database, tmp_path / "backup", service.clock)
    finally:
        is_over.set()
        writer.join()
    [only] = made.ledgers
    assert 302 <= only.size <= ledger.size()
    assert counted
    service.close()
    restore(tmp_path / "backup", empty_url)
    service.database_url = empty_url
    replica = service.open()
    [standing] = compare(replica.database, replica.memory)
    assert standing.behind is not None


def test_what_was_signed_after_the_backup_is_told_and_an_epoch_goes_on(
    service: Service, tmp_path: Path, empty_url: str
) -> None:
    replica = service.open()
    fill(replica)
    back_up(replica.database, tmp_path / "backup", service.clock)
    ledger = replica.ledgers.get("main")
    append_notes(ledger, register(ledger), 3)
    service.close()
    restore(tmp_path / "backup", empty_url)
    service.database_url = empty_url
    replica = service.open()
    standings = compare(replica.database, replica.memory)
    assert [(each.name, each.behind) for each in standings] == [("main", 4), ("other", 0)]
    _, ledger = begin_epoch(service)
    replica = service.open()
    assert [each.behind for each in compare(replica.database, replica.memory)] == [0, 0]
    restore_again = tmp_path / "again"
    made = back_up(replica.database, restore_again, service.clock)
    assert {each.origin for each in made.ledgers} >= {ledger.origin}


def test_a_backup_is_put_where_nothing_is_and_nowhere_else(
    service: Service, tmp_path: Path, empty_url: str
) -> None:
    replica = service.open()
    fill(replica)
    back_up(replica.database, tmp_path / "backup", service.clock)
    restore(tmp_path / "backup", empty_url)
    with pytest.raises(SettingsError, match=r"there already|has tables"):
        restore(tmp_path / "backup", empty_url)
    with pytest.raises(SettingsError, match=r"there already|has tables"):
        restore(tmp_path / "backup", service.database_url)
    with pytest.raises(SettingsError, match="is there already"):
        back_up(replica.database, tmp_path / "backup", service.clock)


def _flip(folder: Path) -> None:
    _, file = read_backup(folder)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _cut(folder: Path) -> None:
    _, file = read_backup(folder)
    file.write_bytes(file.read_bytes()[:-1])


def _remove(folder: Path) -> None:
    read_backup(folder)[1].unlink()


def _lie(folder: Path) -> None:
    """Say that the copy holds one more entry than it does."""
    manifest, _ = read_backup(folder)
    first = msgspec.structs.replace(manifest.ledgers[0], root=ids.format_digest(bytes(32)))
    changed = msgspec.structs.replace(manifest, ledgers=(first, *manifest.ledgers[1:]))
    (folder / backups.MANIFEST).write_bytes(format_manifest(changed))


def _respell(folder: Path) -> None:
    path = folder / backups.MANIFEST
    path.write_bytes(path.read_bytes() + b"\n")


def _newer(folder: Path) -> None:
    manifest, _ = read_backup(folder)
    changed = msgspec.structs.replace(manifest, schema="9999")
    (folder / backups.MANIFEST).write_bytes(format_manifest(changed))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (_flip, IntegrityError),
        (_cut, IntegrityError),
        (_remove, IntegrityError),
        (_lie, IntegrityError),
        (_respell, MalformedError),
        (_newer, SettingsError),
    ],
)
def test_a_backup_that_is_not_the_one_that_was_made_is_refused(
    change: Callable[[Path], None],
    error: type[Exception],
    service: Service,
    tmp_path: Path,
    empty_url: str,
) -> None:
    replica = service.open()
    fill(replica, 1)
    back_up(replica.database, tmp_path / "backup", service.clock)
    change(tmp_path / "backup")
    with pytest.raises(error):
        restore(tmp_path / "backup", empty_url)


def test_a_database_whose_entries_were_changed_is_not_backed_up(
    sqlite_url: str, tmp_path: Path
) -> None:
    with closing(Service(sqlite_url, tmp_path)) as service:
        fill(service.open(), 2)
    with closing(open_database(sqlite_url)) as database:
        with database.write() as tx:
            tx.exec_driver_sql("DROP TRIGGER entries_no_update")
            tx.exec_driver_sql('UPDATE entries SET leaf = zeroblob(90) WHERE "index" = 1')
        with pytest.raises(IntegrityError, match="do not have the root"):
            back_up(database, tmp_path / "backup", lambda: 0)
    assert not (tmp_path / "backup" / backups.MANIFEST).exists()


def test_a_backup_of_postgresql_needs_its_programs(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with closing(open_database(postgresql_url)) as database:
        database.migrate()
        with pytest.raises(NotFoundError, match="pg_dump is not on the PATH"):
            back_up(database, tmp_path / "backup", lambda: 0)


def test_neither_views_nor_the_signers_memory_are_in_a_backup(
    service: Service, tmp_path: Path
) -> None:
    replica = service.open()
    fill(replica)
    replica.ledgers.get("main").wait_until_searchable(7, 5)
    back_up(replica.database, tmp_path / "backup", service.clock)
    files = {path.name for path in (tmp_path / "backup").iterdir()}
    assert files in ({"manifest.json", "ledger.db"}, {"manifest.json", "ledger.pgdump"})
    _, file = read_backup(tmp_path / "backup")
    assert b"entry_view" not in file.read_bytes()
