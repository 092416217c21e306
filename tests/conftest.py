"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ledger_core.ledger import Ledger
from tests.support.backups import Backups
from tests.support.ledgers import Author, Service, a_service, register
from tests.support.memory import folder_in_memory
from tests.support.migrated import lay_migrated, migrate
from tests.support.postgresql import Server, postgresql

# Two busy cores say nothing about how long an example takes.
settings.register_profile("ledgergrid", deadline=None, print_blob=True)
settings.load_profile("ledgergrid")


def pytest_configure(config: pytest.Config) -> None:
    """Have folders of tests in memory, where there is room; the campaign's are on the disk."""
    folder = folder_in_memory()
    if folder is not None and config.option.markexpr != "campaign":
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", folder)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """Start one PostgreSQL for the session (one for each worker), when the first test asks."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: Server) -> str:
    """Name the database that those of the tests are copies of."""
    name = postgresql_server.create_database()
    migrate(postgresql_server.url(name))
    return name


@pytest.fixture
def postgresql_url(postgresql_server: Server, migrated_postgresql: str) -> Iterator[str]:
    """Give the test a fresh PostgreSQL database with our tables and views, and nothing in them."""
    with postgresql_server.a_database(migrated_postgresql) as url:
        yield url


@pytest.fixture
def empty_postgresql_url(postgresql_server: Server) -> Iterator[str]:
    """Give the test a PostgreSQL database with nothing in it at all."""
    with postgresql_server.a_database() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Give the test a fresh SQLite database with our tables and views, and nothing in them."""
    lay_migrated(file := tmp_path / "ledger.db")
    return f"sqlite:///{file}"


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """Name a SQLite database whose file does not exist yet."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test twice, once with a fresh database of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """Run the test twice, once with an empty database of each kind."""
    url: str = request.getfixturevalue(f"empty_{request.param}_url")
    return url


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[Service]:
    """Give a service on each kind of database; ``service.open()`` starts a replica of it."""
    with a_service(database_url, tmp_path) as made:
        yield made


@pytest.fixture
def backups(request: pytest.FixtureRequest, service: Service, tmp_path: Path) -> Backups:
    """Copy the service's database aside, and put it back."""
    is_postgresql = service.database_url.startswith("postgresql")
    server = request.getfixturevalue("postgresql_server") if is_postgresql else None
    return Backups(service, server, tmp_path)


@pytest.fixture
def ledger(service: Service) -> Ledger:
    """Give a fresh ledger on each kind of database."""
    return service.open().ledgers.create("main")


@pytest.fixture
def author(ledger: Ledger) -> Author:
    """Give an agent whose key is registered, by entry 1."""
    return register(ledger)
