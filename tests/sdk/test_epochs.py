"""A client notices that history was lost, stops, and goes on only when told to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from api.settings import Settings
from ledger_core.epochs import Standstill, open_epoch, state_epoch
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.submission import Submission, format_submission
from ledger_core.formats.vkey import NoteSigner, format_vkey
from ledger_core.keyring import open_keyring
from ledger_core.records.types.epoch import Statement, sign_statement
from ledger_core.storage.database import open_database
from ledger_core.storage.signer_memory import SignerMemory
from ledgergrid import (
    DistrustError,
    ForkedLedgerError,
    Ledger,
    NewEpochError,
    Receipt,
    Signer,
)
from tests.api.live import ROUTE, Live, running
from tests.support.ledgers import Author
from tests.vectors.governance_types import NEXT_LOG, make_vkey


class Lost:
    """A service that loses what its client appended after :meth:`back_up`."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data=folder / "service")
        self.folder = folder
        self.key = PrivateKey.generate()
        self.agent = Signer(NoteSigner("agent", self.key))
        with self.serving() as live, live.http("admin") as http:
            body = {"key": self.agent.key, "roles": ["agent"]}
            body["possession"] = self.agent.prove_possession(live.main.origin)
            http.post(f"{ROUTE}/main/keys", json=body).raise_for_status()
            self.origin = live.main.origin
            self.first_key = format_vkey(live.main.log_key)

    @contextmanager
    def serving(self) -> Iterator[Live]:
        with running(self.settings) as live:
            yield live

    def client(self, live: Live, state: str = "state", **settings: str) -> Ledger:
        state_dir = self.folder / state
        # Clients remember a service by its address, and this one has another each time it runs.
        address = quote(live.url.partition("://")[2], safe="")
        for earlier in state_dir.glob("*"):
            earlier.rename(state_dir / address)
        return Ledger(
            live.url,
            ledger="main",
            signer=self.agent,
            token=live.tokens["reader"],
            state_dir=state_dir,
            patience_s=3.0,
            **settings,  # type: ignore[arg-type]
        )

    def copy(self, name: str) -> None:
        shutil.copytree(self.settings.data, self.folder / name)

    def go_back(self, name: str) -> None:
        for file in self.settings.data.glob("ledger*.db*"):
            file.unlink()
        shutil.copy(self.folder / name / "ledger.db", self.settings.data / "ledger.db")

    def begin_epoch(self) -> Statement:
        settings = self.settings
        database = open_database(settings.database_url)
        remembered = open_database(settings.signer_memory_url)
        keyring = open_keyring(settings.keyring_file)
        service = Standstill(database, SignerMemory(remembered), keyring, lambda: 1)
        statement = state_epoch(service, "main", "disk lost")
        signed = sign_statement(statement, keyring.operator(self.origin))
        open_epoch(service, "main", statement, [signed])
        database.close()
        remembered.close()
        return statement


@pytest.fixture
def lost(tmp_path: Path) -> Lost:
    return Lost(tmp_path)


def lose_two(lost: Lost) -> Statement:
    """Have a client append three notes, of which the last two are lost; open an epoch."""
    with lost.serving() as live, lost.client(live) as client:
        client.append("note/1", "kept")
    lost.copy("backup")
    with lost.serving() as live, lost.client(live) as client:
        client.append("note/1", "lost")
        client.append("note/1", "lost as well")
    lost.go_back("backup")
    return lost.begin_epoch()


def test_a_new_epoch_is_noticed_and_followed_only_when_told(lost: Lost) -> None:
    statement = lose_two(lost)
    with lost.serving() as live, lost.client(live) as client:
        with pytest.raises(NewEpochError, match="lost part of its history") as caught:
            client.append("note/1", "after")
        assert caught.value.origin == statement.new_origin
        with pytest.raises(NewEpochError):
            client.checkpoint()
        [epoch] = client.read_epoch(statement.new_origin)
        assert (epoch.index, epoch.kept, epoch.reason) == (3, 3, "disk lost")
        assert [(each.origin, each.size) for each in epoch.lost] == [(lost.origin, 5)]
        assert len(epoch.signed_by) == 1
        with pytest.raises(NewEpochError):
            client.checkpoint()
        assert client.accept_epoch(statement.new_origin) == [epoch]
        [left] = client.flush()
        assert isinstance(left, Receipt)
        assert left.checkpoint.origin == statement.new_origin
        assert client.append("note/1", "goes on").index == left.index + 1
    with lost.serving() as live, lost.client(live) as client:
        assert client.append("note/1", "still").checkpoint.origin == statement.new_origin
        assert client.accept_epoch(statement.new_origin) == []


def test_whoever_pinned_the_old_key_follows_as_well(lost: Lost) -> None:
    statement = lose_two(lost)
    with lost.serving() as live, lost.client(live, log_key=lost.first_key) as client:
        with pytest.raises(NewEpochError):
            client.checkpoint()
        client.accept_epoch(statement.new_origin)
        client.append("note/1", "goes on")
    with lost.serving() as live, lost.client(live, log_key=lost.first_key) as client:
        assert client.checkpoint().origin == statement.new_origin


def test_an_epoch_that_hides_what_the_client_verified_is_not_followed(lost: Lost) -> None:
    """The signer's memory went back as well, and those who agreed knew of one entry lost."""
    with lost.serving() as live, lost.client(live) as client:
        client.append("note/1", "kept")
    lost.copy("backup")
    with lost.serving() as live, lost.client(live) as client:
        for number in range(3):
            client.append("note/1", number)
    shutil.rmtree(lost.settings.data)
    shutil.copytree(lost.folder / "backup", lost.settings.data)
    with lost.serving() as live, lost.client(live, "other") as client:
        client.append("note/1", "another history")
    lost.go_back("backup")
    statement = lost.begin_epoch()
    assert [each.size for each in statement.known] == [4]
    with lost.serving() as live, lost.client(live) as client:
        with pytest.raises(ForkedLedgerError, match="more is lost than they said"):
            client.accept_epoch(statement.new_origin)
        with pytest.raises(NewEpochError):
            client.checkpoint()


def test_what_was_lost_and_kept_elsewhere_is_sent_again_and_has_one_entry(lost: Lost) -> None:
    author = Author(lost.origin, lost.key)
    notes = [author.note(number) for number in range(4)]
    lines = [format_submission(Submission(each.signed, each.parts)) for each in notes]
    with lost.serving() as live, lost.client(live) as client:
        client.resubmit(lines[:2])
    lost.copy("backup")
    with lost.serving() as live, lost.client(live) as client:
        client.resubmit(lines[2:])
    lost.go_back("backup")
    statement = lost.begin_epoch()
    with lost.serving() as live, lost.client(live) as client:
        client.accept_epoch(statement.new_origin)
        first = client.resubmit(lines)
        again = client.resubmit(lines)
        assert [each.index for each in first if isinstance(each, Receipt)] == [2, 3, 5, 6]
        assert [each.index for each in again if isinstance(each, Receipt)] == [2, 3, 5, 6]
        for each in first:
            assert isinstance(each, Receipt)
            assert each.checkpoint.origin == statement.new_origin


def test_an_epoch_signed_by_a_key_that_was_never_this_logs_is_not_followed(lost: Lost) -> None:
    statement = lose_two(lost)
    with lost.serving() as live, lost.client(live) as client:
        (client.state_dir / "log.vkey").write_text(f"{make_vkey(NEXT_LOG, lost.origin)}\n")
        (client.state_dir / "checkpoint").unlink()
    with (
        lost.serving() as live,
        lost.client(live) as client,
        pytest.raises(DistrustError, match="no key believed here signed the fork"),
    ):
        client.accept_epoch(statement.new_origin)
