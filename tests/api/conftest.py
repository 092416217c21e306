"""Running services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from api.settings import Settings
from tests.api.live import Live, running


@pytest.fixture
def live(tmp_path: Path, database_url: str) -> Iterator[Live]:
    """Give a service on each kind of database."""
    with running(Settings(data=tmp_path / "data", database=SecretStr(database_url))) as found:
        yield found


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Live]:
    """Give a service on its own SQLite file, for what does not touch the database's kind."""
    with running(Settings(data=tmp_path / "data")) as found:
        yield found
