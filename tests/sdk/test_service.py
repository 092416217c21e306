"""The SDK and our own service, over a real socket: what the guide promises."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.settings import Settings
from ledger_core.errors import AccessError, PayloadError, StandingError, UnknownTypeError
from ledger_core.formats.record import parse_record
from ledger_core.formats.vkey import format_vkey
from ledger_core.records.types.charter import Kind
from ledgergrid import AsyncLedger, Draft, Ledger, Receipt, Signer
from tests.api.live import Live, running


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(Settings(data=tmp_path_factory.mktemp("service"))) as live:
        yield live


def create(live: Live, name: str, kind: Kind, *agents: Signer) -> str:
    """Make a ledger that these agents may write to; return its log's key."""
    ledger = live.service.ledgers.create(name, kind=kind)
    with live.http("admin") as http:
        for agent in agents:
            possession = agent.prove_possession(ledger.origin)
            body = {"key": agent.key, "roles": ["agent"], "possession": possession}
            http.post(f"/api/v1/ledgers/{name}/keys", json=body).raise_for_status()
    return format_vkey(ledger.log_key)


@pytest.fixture
def agent() -> Signer:
    return Signer.make()


def test_a_registered_agent_appends_and_every_receipt_checks(
    live: Live, agent: Signer, tmp_path: Path
) -> None:
    create(live, "one-by-one", "public", agent)
    with Ledger(live.url, ledger="one-by-one", signer=agent, state_dir=tmp_path) as ledger:
        first = ledger.append("note/1", {"hello": "world"})
        second = ledger.append("note/1", {"hello": "again"}, causes=[first], stream="run-1")
        assert second.index == first.index + 1
        assert parse_record(second.record).refs[0].to == first.leaf_hash
        assert ledger.checkpoint().size == second.index + 1


def test_batches_go_in_whole_and_bad_records_are_told_apart(
    live: Live, agent: Signer, tmp_path: Path
) -> None:
    log_key = create(live, "batches", "public", agent)
    with Ledger(
        live.url, ledger="batches", signer=agent, state_dir=tmp_path, log_key=log_key
    ) as ledger:
        action = {"action": "search", "status": "succeeded"}
        outcomes = ledger.append_many(
            [
                Draft("agent.action/1", action),
                Draft("agent.action/1", {"action": "search"}),
                Draft("nobody.knows/1", {}),
                *(Draft("note/1", number) for number in range(1000)),
            ]
        )
        kinds = [type(each) for each in outcomes]
        assert kinds == [Receipt, PayloadError, UnknownTypeError, *[Receipt] * 1000]


def test_enqueued_records_all_arrive(live: Live, agent: Signer, tmp_path: Path) -> None:
    create(live, "queued", "public", agent)

    async def run() -> list[Receipt]:
        async with AsyncLedger(
            live.url, ledger="queued", signer=agent, state_dir=tmp_path
        ) as ledger:
            queued = [await ledger.enqueue("note/1", n, stream="run") for n in range(200)]
            return await asyncio.gather(*queued)

    receipts = asyncio.run(run())
    assert [parse_record(receipt.record).n for receipt in receipts] == list(range(200))
    assert len({receipt.index for receipt in receipts}) == 200


def test_a_stranger_is_refused_with_the_services_reason(
    live: Live, agent: Signer, tmp_path: Path
) -> None:
    create(live, "members-only", "public")
    with (
        Ledger(live.url, ledger="members-only", signer=agent, state_dir=tmp_path) as ledger,
        pytest.raises(StandingError, match="not registered"),
    ):
        ledger.append("note/1", 1)


def test_a_ledger_that_is_not_public_needs_a_token_to_be_checked(
    live: Live, agent: Signer, tmp_path: Path
) -> None:
    create(live, "private", "private", agent)
    with (
        Ledger(live.url, ledger="private", signer=agent, state_dir=tmp_path) as ledger,
        pytest.raises(AccessError),
    ):
        ledger.append("note/1", 1)
    with Ledger(
        live.url, ledger="private", signer=agent, state_dir=tmp_path, token=live.tokens["reader"]
    ) as ledger:
        receipts = [ledger.append("note/1", number) for number in range(3)]
    assert len({receipt.index for receipt in receipts}) == 3


def test_the_last_checkpoint_is_the_services_own_after_many_clients(
    live: Live, agent: Signer, tmp_path: Path
) -> None:
    """Clients with memories of their own append in turns, so that each must ask for proofs."""
    create(live, "turns", "public", agent)
    ledgers = [
        Ledger(live.url, ledger="turns", signer=agent, state_dir=tmp_path / str(number))
        for number in range(3)
    ]
    indexes = [ledger.append("note/1", turn).index for turn in range(5) for ledger in ledgers]
    assert indexes == sorted(indexes)
    assert len({ledger.checkpoint() for ledger in ledgers}) == 1
    for ledger in ledgers:
        ledger.close()
