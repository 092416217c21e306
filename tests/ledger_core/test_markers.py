"""A marker in a payload is in no file in plaintext: not of the database, its log or anything else.

That is what makes erasure possible: what was never written in the clear need not be found again.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec
import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.support.ledgers import Service, appended, register
from tests.support.markers import find_in
from tests.support.postgresql import Server


def markers() -> tuple[str, str]:
    """Make two words that are nowhere else: one for payloads, one for a view's column."""
    return f"sealed-{secrets.token_hex(12)}", f"column-{secrets.token_hex(12)}"


def write_markers(service: Service, sealed: str, column: str) -> None:
    """Put one marker into payloads of many sizes, the other where a view has a column for it."""
    replica = service.open()
    ledger = replica.ledgers.create("main")
    author = register(ledger)
    for times in (1, 10, 10_000):
        appended(ledger.append([author.note({"text": sealed * times})])[0])
    call = {
        "call": msgspec.json.encode(
            {
                "action_id": "call-1",
                "timestamp": "2026-08-01T10:11:12.345Z",
                "provider": "openai",
                "cost_microusd": 6,
            }
        ),
        "request": msgspec.json.encode({"model": "m", "prompt": sealed}),
    }
    appended(ledger.append([author.seal("llm.call/1", call)])[0])
    b"".join(ledger.export(0, None, column))
    assert ledger.wait_until_searchable(ledger.size(), 30) == ledger.size()


def test_a_marker_is_in_no_file_beside_a_sqlite_database(tmp_path: Path, sqlite_url: str) -> None:
    sealed, column = markers()
    service = Service(sqlite_url, tmp_path)
    write_markers(service, sealed, column)
    for _ in ("while it runs", "and when it has stopped"):
        assert find_in(tmp_path, sealed.encode()) == []
        assert find_in(tmp_path, sealed.encode().hex().encode()) == []
        service.close()
    assert find_in(tmp_path, column.encode()) == ["ledger.views.db"]


def test_a_marker_is_in_no_file_of_postgresql(
    tmp_path: Path, postgresql_url: str, postgresql_server: Server
) -> None:
    sealed, column = markers()
    service = Service(postgresql_url, tmp_path)
    write_markers(service, sealed, column)
    plain = make_url(postgresql_url).set(drivername="postgresql")
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as server:
        server.execute("CHECKPOINT")
    for folder in (postgresql_server.folder, tmp_path):
        assert find_in(folder, sealed.encode()) == []
        assert find_in(folder, sealed.encode().hex().encode()) == []
    service.close()


@pytest.mark.parametrize("url", ["sqlite", "postgresql"])
def test_what_is_written_in_the_clear_is_found_by_this_search(
    url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Governance is: the search would find a payload, were it there."""
    service = Service(request.getfixturevalue(f"{url}_url"), tmp_path)
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    service.close()
    folder = tmp_path
    if url == "postgresql":
        folder = request.getfixturevalue("postgresql_server").folder
    assert find_in(folder, author.name.encode()) != []
