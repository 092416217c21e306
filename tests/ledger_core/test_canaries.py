"""A marker that was erased is in no file any more: not of the service, nor of earlier backups.

Before the erasure it is in the views, where columns and subjects are made of payloads, and
nowhere else; afterwards it is nowhere.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from pathlib import Path

import msgspec
import psycopg
import pytest
from sqlalchemy.engine import make_url

from ledger_core import ids
from ledger_core.errors import ErasedError, LedgerGridError
from ledger_core.formats.submission import Submission
from ledger_core.records.rules import EVERY_TYPE, MutabilitySetting
from ledger_core.records.targets import Parts
from ledger_core.records.types.charter import Founding
from ledger_core.records.types.erasure import Erasure
from ledger_core.sequencer import Appended
from ledger_core.storage.erasures import Erased
from ledger_core.storage.store import Gone
from ledger_core.words import phrases
from tests.support.ledgers import Author, Replica, Service, appended, refused, register
from tests.support.markers import find_in
from tests.support.postgresql import Server

ERASABLE = MutabilitySetting(type=EVERY_TYPE, erase=("author",))


@pytest.fixture(autouse=True)
def _temporary_files_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Python and SQLite put their temporary files where the search looks."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("SQLITE_TMPDIR", str(folder))


class Canary:
    """Entries that say a marker wherever a payload can say anything, in a ledger of their own."""

    def __init__(self, replica: Replica) -> None:
        self.marker = f"canary{secrets.token_hex(12)}"
        self.replica = replica
        self.ledger = replica.ledgers.create("main", founding=Founding(mutability=(ERASABLE,)))
        self.author: Author = register(self.ledger)
        self.submissions = self._seal()
        self.entries = [appended(each) for each in self.ledger.append(self.submissions)]
        self._try_what_is_refused()
        for _ in self.ledger.export(0, None, "auditor"):
            pass  # Whoever takes an archive has what is in it; here it leaves no trace.
        self.ledger.wait_until_searchable(self.ledger.size(), 30)
        self._await_words()

    def _await_words(self) -> None:
        """Wait until the call is found by its words, so that they are in some file."""
        search, name = self.replica.ledgers.views.search, self.ledger.ledger_id
        end_s = time.monotonic() + 30
        while not search.find(name, phrases(self.marker), 1):
            assert time.monotonic() < end_s
            time.sleep(0.05)

    def _seal(self) -> list[Submission]:
        seal, m = self.author.seal, self.marker
        action = {"action": m, "status": "succeeded", "session_id": m, "tool": m}
        decision = {"decision": m, "chosen": m, "session_id": m}
        call: dict[str, object] = {
            "action_id": m,
            "timestamp": "2026-08-01T10:11:12.345Z",
            "provider": "openai",
        }
        call |= {"user_id": m, "session_id": m, "agent_name": m, "cost_microusd": 6}
        call |= {"content": m, "tool_calls": [{"name": m}]}
        parts = {"call": msgspec.json.encode(call), "request": msgspec.json.encode({"prompt": m})}
        return [
            self.author.note({"subject": f"user:{m}", "text": m * 1000}),
            seal("agent.action/1", {"body": msgspec.json.encode(action)}),
            seal("agent.decision/1", {"body": msgspec.json.encode(decision)}),
            seal("llm.call/1", parts),
        ]

    def _try_what_is_refused(self) -> None:
        """Say it in records that are refused, and repeated: errors must not keep it."""
        bad = self.author.seal("agent.action/1", {"body": msgspec.json.encode([self.marker])})
        stranger = Author(self.ledger.origin).note(self.marker)
        for each in self.ledger.append([bad, stranger, self.submissions[0]])[:2]:
            assert self.marker not in str(refused(each))

    def erase(self) -> Appended:
        """Erase every part that says it, and wait until that is done."""
        targets = tuple(
            Parts(ids.format_digest(placed.leaf_hash), tuple(sorted(submission.parts)))
            for placed, submission in zip(self.entries, self.submissions, strict=True)
        )
        body = msgspec.json.encode(Erasure(targets, "subject"))
        order = appended(self.ledger.append([self.author.seal("erasure/1", {"body": body})])[0])
        self.ledger.wait_for(order.index + 1, 60)
        assert self.ledger.effects([order.index])[order.index].done_at == order.index + 1
        return order

    def found(self, folder: Path) -> list[str]:
        raw = self.marker.encode()
        return [*find_in(folder, raw), *find_in(folder, raw.hex().encode())]


def test_an_erased_marker_is_in_no_file_beside_a_sqlite_database(
    tmp_path: Path, sqlite_url: str
) -> None:
    service = Service(sqlite_url, tmp_path)
    canary = Canary(service.open())
    assert {Path(each).name.removesuffix("-wal") for each in canary.found(tmp_path)} == {
        "ledger.views.db"
    }
    canary.erase()
    assert canary.found(tmp_path) == []
    service.close()
    assert canary.found(tmp_path) == []


def test_an_erased_marker_is_in_no_file_of_postgresql_nor_in_a_base_backup_from_before(
    tmp_path: Path, postgresql_url: str, postgresql_server: Server
) -> None:
    service = Service(postgresql_url, tmp_path)
    canary = Canary(service.open())
    restart(service, postgresql_server, postgresql_url)
    before = canary.found(postgresql_server.folder)
    assert before != []
    assert not any("pg_wal" in each or each.startswith("log") for each in before)
    backup = postgresql_server.back_up()
    assert canary.found(backup) == []
    replica = service.open()
    canary.replica, canary.ledger = replica, replica.ledgers.get("main")
    canary.erase()
    on_server(postgresql_url, "ANALYZE", "CHECKPOINT")
    assert canary.found(postgresql_server.folder) == []
    restart(service, postgresql_server, postgresql_url)
    assert canary.found(postgresql_server.folder) == []
    assert canary.found(tmp_path) == []
    shutil.rmtree(backup)


def restart(service: Service, server: Server, url: str) -> None:
    """Stop in good order: that writes all that was in memory alone, unlogged tables too."""
    on_server(url, "ANALYZE")
    service.close()
    server.stop()
    server.start()


def on_server(url: str, *statements: str) -> None:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as server:
        for statement in statements:
            server.execute(statement)


def copy_files(folder: Path, *names: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for name in names for path in folder.glob(f"{name}*")}


def put_back(folder: Path, files: dict[Path, bytes], *names: str) -> None:
    for name in names:
        for path in folder.glob(f"{name}*"):
            path.unlink()
    for path, data in files.items():
        path.write_bytes(data)


def test_an_older_key_store_beside_a_newer_database_brings_nothing_back(
    tmp_path: Path, sqlite_url: str
) -> None:
    service = Service(sqlite_url, tmp_path)
    canary = Canary(service.open())
    service.close()
    older = copy_files(tmp_path, "keys.db")
    replica = service.open()
    canary.replica, canary.ledger = replica, replica.ledgers.get("main")
    order = canary.erase()
    service.close()
    put_back(tmp_path, older, "keys.db")
    replica = service.open()
    ledger = replica.ledgers.get("main")
    for placed, sealed in zip(canary.entries, canary.submissions, strict=True):
        expected = dict.fromkeys(sealed.parts, Erased(order.index))
        assert ledger.entry(placed.index).gone == expected
        assert_refused(ledger.append([again(canary, sealed)])[0])
    assert replica.ledgers.eraser.destroy_again() == 0
    service.close()
    assert canary.found(tmp_path) == []


def again(canary: Canary, sealed: Submission) -> Submission:
    """Seal another record with the same payload, to the salt."""
    name = sorted(sealed.parts)[0]
    part = sealed.parts[name]
    return canary.author.seal("note/1", {"body": part.data}, salt=part.salt)


def assert_refused(outcome: Appended | LedgerGridError) -> None:
    assert isinstance(refused(outcome), ErasedError)


@pytest.mark.parametrize("names", [("ledger.db", "ledger.views.db", "signer.db")])
def test_an_older_database_beside_a_newer_key_store_has_nothing_to_show(
    names: tuple[str, ...], tmp_path: Path, sqlite_url: str
) -> None:
    """The order to erase is lost with the entries after the backup; the keys are not back."""
    service = Service(sqlite_url, tmp_path)
    canary = Canary(service.open())
    service.close()
    older = copy_files(tmp_path, *names)
    # Backups hold no views: those are made anew.
    older = {path: data for path, data in older.items() if "views" not in path.name}
    replica = service.open()
    canary.replica, canary.ledger = replica, replica.ledgers.get("main")
    canary.erase()
    service.close()
    put_back(tmp_path, older, *names)
    ledger = service.open().ledgers.get("main")
    for placed, sealed in zip(canary.entries, canary.submissions, strict=True):
        assert ledger.entry(placed.index).gone == dict.fromkeys(sealed.parts, Gone.KEY)
        assert_refused(ledger.append([again(canary, sealed)])[0])
    ledger.wait_until_searchable(ledger.size(), 30)
    assert canary.found(tmp_path) == []
    service.close()
