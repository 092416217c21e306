"""A client follows the log from key to key, and only where each key handed over to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.settings import Settings
from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.trust_policy import Trusted
from ledger_core.formats.vkey import NoteSigner, format_vkey
from ledgergrid import DistrustError, Ledger, Signer, StrangeLogKeyError
from ledgergrid.memory import Memory
from ledgergrid.wire import Answer, Ask, NoAnswerError
from tests.api.live import ROUTE, Live, running


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with running(Settings(data=tmp_path / "service")) as live:
        yield live


@pytest.fixture
def agent(live: Live) -> Signer:
    agent = Signer.make()
    body = {"key": agent.key, "roles": ["agent"]}
    body["possession"] = agent.prove_possession(live.main.origin)
    with live.http("admin") as http:
        http.post(f"{ROUTE}/main/keys", json=body).raise_for_status()
    return agent


Open = Callable[..., Ledger]


@pytest.fixture
def open_(live: Live, agent: Signer, tmp_path: Path) -> Iterator[Open]:
    opened: list[Ledger] = []

    def open_one(state: str = "state", kind: type[Ledger] = Ledger, **settings: Any) -> Ledger:
        given: dict[str, Any] = {
            "token": live.tokens["reader"],
            "state_dir": tmp_path / state,
            "patience_s": 5.0,
        }
        opened.append(kind(live.url, ledger="main", signer=agent, **(given | settings)))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def rotate(live: Live) -> str:
    """Hand over to the log's next key; return its vkey."""
    with live.http("admin") as http:
        http.post(f"{ROUTE}/main/log-key").raise_for_status()
        log_key: str = http.get(f"{ROUTE}/main").json()["log_key"]
    return log_key


def test_appending_goes_on_when_the_logs_key_has_handed_over(live: Live, open_: Open) -> None:
    first = format_vkey(live.main.log_key)
    client = open_(log_key=first)
    client.append("note/1", 1)
    keys = [rotate(live), rotate(live)]
    receipt = client.append("note/1", 2)
    assert client.checkpoint().size == receipt.index + 1
    heirs = Memory(client.state_dir).heirs()
    assert [format_vkey(heir.key) for heir in heirs] == keys
    keys.append(rotate(live))
    assert open_(log_key=first).append("note/1", 3).index == receipt.index + 2
    assert len(Memory(client.state_dir).heirs()) == 3
    assert client.append("note/1", 4).index == receipt.index + 3


def test_a_new_run_knows_whom_the_log_handed_over_to(live: Live, open_: Open) -> None:
    before = open_()
    before.append("note/1", 1)
    newest = rotate(live)
    before.append("note/1", 2)
    for settings in ({}, {"log_key": newest}):
        open_(**settings).append("note/1", 3)


def test_who_begins_with_the_newest_key_reads_what_older_ones_signed(
    live: Live, open_: Open
) -> None:
    old = open_("old").append("note/1", {"n": 1})
    client = open_("new", log_key=rotate(live))
    client.origin()
    entry = client._run(client._session.trust.read_entry(old.index))
    assert entry.payload["body"] == {"n": 1}


class Lied(Ledger):
    """A client whose ledger shows another handover than there was."""

    change: Callable[[str, Any], None]

    def _fetch(self, request: Ask) -> Answer | NoAnswerError:
        answer = super()._fetch(request)
        assert isinstance(answer, Answer)
        if answer.content.startswith(b"{"):
            told = msgspec.json.decode(answer.content)
            self.change(request.path, told)
            return Answer(answer.status, answer.headers, msgspec.json.encode(told))
        return answer


def test_a_key_that_nobody_handed_over_to_is_not_followed(live: Live, open_: Open) -> None:
    open_().append("note/1", 1)
    rotate(live)
    client = open_(kind=Lied)
    assert isinstance(client, Lied)

    def elsewhere(path: str, told: Any) -> None:
        if path == "":
            told["log_keys"][1]["since"] = 2  # A note, which hands over nothing.

    client.change = elsewhere
    with pytest.raises(StrangeLogKeyError, match="without proof"):
        client.checkpoint()

    def hidden(path: str, told: Any) -> None:
        told.pop("log_keys", None)

    client.change = hidden
    with pytest.raises(DistrustError, match="no log in the trust policy signed"):
        client.checkpoint()
    assert Memory(client.state_dir).heirs() == ()


def test_a_key_that_handed_over_signs_nothing_more(live: Live, open_: Open) -> None:
    client = open_()
    first = live.main.log_key
    client.append("note/1", 1)
    rotate(live)
    size = client.append("note/1", 2).checkpoint.size
    later = Checkpoint(live.main.origin, size + 1, bytes(32))
    with pytest.raises(DistrustError, match="handed over"):
        client._run(client._session.trust.accept(Trusted(later, first, (), True), b""))


def test_a_log_of_another_key_altogether_is_a_stranger(live: Live, open_: Open) -> None:
    open_().append("note/1", 1)
    other = NoteSigner(live.main.origin, PrivateKey.generate())
    note = sign_checkpoint(Checkpoint(live.main.origin, 9, bytes(32)), other)

    class Forged(Ledger):
        def _fetch(self, request: Ask) -> Answer | NoAnswerError:
            found = super()._fetch(request)
            return Answer(200, {}, note) if request.path == "/checkpoint" else found

    with pytest.raises(DistrustError):
        open_(kind=Forged).checkpoint()
