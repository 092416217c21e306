"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ledger_core.ledger import Ledger
from tests.support.backups import Backups
from tests.support.ledgers import Author, Service, a_service, register
from tests.support.postgresql import Server, postgresql

# Two busy cores say nothing about how long an example takes.
settings.register_profile("ledgergrid", deadline=None, print_blob=True)
settings.load_profile("ledgergrid")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """Start one PostgreSQL for the session (one for each worker), when the first test asks."""
    with postgresql() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql_server: Server) -> Iterator[str]:
    """Give the test a fresh, empty PostgreSQL database."""
    name = postgresql_server.create_database()
    yield postgresql_server.url(name)
    postgresql_server.drop_database(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Give the test a fresh SQLite database, a file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test twice, once with a fresh database of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
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
