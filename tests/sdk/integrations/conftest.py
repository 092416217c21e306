"""One service and one recorded provider for the tests of a module; a ledger for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.demo.upstream import Upstream, replaying
from api.settings import Settings
from tests.api.live import Live, running
from tests.sdk.integrations.asking import EXCHANGES
from tests.sdk.integrations.recorded import Book, book


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with replaying(EXCHANGES.values()) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(Settings(data=tmp_path_factory.mktemp("service"))) as live:
        yield live


@pytest.fixture(name="book")
def open_book(live: Live, tmp_path: Path) -> Iterator[Book]:
    with book(live, tmp_path) as opened:
        yield opened
