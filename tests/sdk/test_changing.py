"""Changing what holds of entries, against our own service over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.settings import Settings
from ledger_core.errors import HeadMovedError, MalformedError, StandingError
from ledger_core.formats.record import parse_record
from ledger_core.formats.vkey import format_vkey
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.types.charter import Founding, FoundingKey
from ledgergrid import AsyncLedger, Ledger, Signer
from tests.api.live import Live, running

NOTES = MutabilitySetting(
    type="note/1",
    amend=("author",),
    roll_back=("author",),
    redact=("author",),
    erase=("author",),
    hold=("author",),
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(Settings(data=tmp_path_factory.mktemp("service"))) as live:
        yield live


class Desk:
    """A ledger whose one agent may change its own notes."""

    def __init__(self, live: Live, folder: Path) -> None:
        self.live, self.folder, self.signer = live, folder, Signer.make()
        name = f"desk-{len(live.service.ledgers.names())}"
        key = FoundingKey(self.signer.key, ("agent", "operator"))
        founding = Founding(keys=(key,), mutability=(NOTES,))
        self.core = live.service.ledgers.create(name, founding=founding)

    def settings(self) -> dict[str, Any]:
        return {
            "ledger": self.core.name,
            "signer": self.signer,
            "token": self.live.tokens["reader"],
            "log_key": format_vkey(self.core.log_key),
            "state_dir": self.folder / self.core.name,
            "patience_s": 5.0,
        }


@pytest.fixture
def desk(live: Live, tmp_path: Path) -> Desk:
    return Desk(live, tmp_path)


@pytest.fixture
def client(desk: Desk) -> Iterator[Ledger]:
    with Ledger(desk.live.url, **desk.settings()) as client:
        yield client


def test_an_amendment_is_of_its_targets_type_and_names_it(client: Ledger) -> None:
    first = client.append("note/1", {"v": 1})
    second = client.amend(first, {"v": 2}, causes=[first])
    record = parse_record(second.record)
    assert record.type == "note/1"
    assert {(ref.rel, ref.to) for ref in record.refs} == {
        ("amends", first.leaf_hash),
        ("causes", first.leaf_hash),
    }
    # By index, or by leaf hash: what lies there is verified before it is named.
    third = client.amend(second.index, {"v": 3})
    client.amend(third.leaf_hash, {"v": 4}, type="note/1")
    assert client.effect(first.index).state == "amended"


def test_who_amends_what_no_longer_counts_is_told_what_does(client: Ledger) -> None:
    first = client.append("note/1", {"v": 1})
    second = client.amend(first, {"v": 2})
    with pytest.raises(HeadMovedError) as moved:
        client.amend(first, {"v": 3})
    assert moved.value.head == second.leaf_hash
    client.amend(moved.value.head, {"v": 3})


def test_an_erasure_with_versions_names_every_version_whichever_was_meant(client: Ledger) -> None:
    first = client.append("note/1", {"v": 1})
    second = client.amend(first, {"v": 2})
    client.redact(second)  # What is hidden can be named: nobody needs to see it for that.
    assert [each.index for each in client.versions(second)] == [first.index, second.index]
    order = client.erase(second, with_versions=True, reason="subject")
    (item,) = client.changes("erasure")
    assert (item.index, item.said) == (order.index, {"reason": "subject"})
    assert [(each.index, each.parts) for each in item.targets] == [
        (first.index, ("body",)),
        (second.index, ("body",)),
    ]


def test_an_entry_is_looked_up_without_its_payload(client: Ledger) -> None:
    note = client.append("note/1", {"v": 1})
    client.redact(note)
    found = client.look_up(note.leaf_hash)
    assert (found.index, found.record.type, found.payload) == (note.index, "note/1", {})
    assert client.effect(found).parts["body"].status == "redacted"


def test_what_is_not_there_is_not_named(client: Ledger) -> None:
    note = client.append("note/1", {"v": 1})
    with pytest.raises(MalformedError, match="no such part"):
        client.erase(note, "photo")
    with pytest.raises(MalformedError):
        client.hold("entry 1", "case")
    with pytest.raises(StandingError, match="not redacted"):
        client.unredact(note)


def test_who_may_change_what_is_set_and_told(client: Ledger) -> None:
    setting = MutabilitySetting(type="agent.action/1", redact=("author",))
    done = client.set_mutability(setting)
    told = client.mutability()
    assert [(each.since, each.setting) for each in told] == [(0, NOTES), (done.index, setting)]


def test_asyncio_does_all_of_it_awaited(desk: Desk) -> None:
    async def run() -> None:
        async with AsyncLedger(desk.live.url, **desk.settings()) as client:
            first = await client.append("note/1", {"subject": "order:1"})
            second = await client.amend(first, {"subject": "order:1", "v": 2})
            back = await client.roll_back(first, second.index)
            await client.roll_back([first], back.index)
            await client.redact([first, second], "body", visible_to=["auditor"])
            await client.unredact([first, second])
            assert [each.index for each in await client.subject("order:1")] == [
                first.index,
                second.index,
            ]
            await client.hold(first, "case-1")
            assert (await client.effect(first)).held_by == ("case-1",)
            assert (await client.effect(first, at=second.index)).state == "in-effect"
            await client.release(first, "case-1")
            assert (await client.look_up(first)).leaf_hash == first.leaf_hash
            assert len(await client.versions(first)) == 2
            await client.erase(first, with_versions=True)
            assert (await client.effect(second)).parts["body"].status == "erased"
            kinds = [each.kind for each in await client.changes(target=first.index)]
            assert kinds[-1] == "erasure"
            setting = MutabilitySetting(type="note/1", for_ever=True)
            await client.set_mutability(setting)
            assert (await client.mutability())[-1].setting == setting

    asyncio.run(run())
