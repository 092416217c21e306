"""The SDK and our own service, over a real socket: what the guide promises."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import uvicorn

from api.app import App, create_app
from api.settings import Settings
from ledger_core.errors import AccessError, PayloadError, StandingError, UnknownTypeError
from ledger_core.formats.record import parse_record
from ledgergrid import AsyncLedger, Draft, Ledger, Receipt, Signer


class Running:
    """A service on a port of its own, with an admin's token."""

    def __init__(self, app: App, url: str) -> None:
        self.url = url
        self.token = app.service.tokens.create("tests", "admin")
        self.reader = app.service.tokens.create("agent", "reader")

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.post(f"{self.url}/api/v1/ledgers{path}", json=body, headers=headers)
        answer.raise_for_status()
        found: dict[str, object] = answer.json()
        return found

    def create(self, name: str, kind: str, *agents: Signer) -> str:
        """Make a ledger with these agents' keys; return its log's key."""
        made = self.post("", {"name": name, "kind": kind})
        for agent in agents:
            possession = agent.prove_possession(str(made["origin"]))
            body = {"key": agent.key, "roles": ["agent"], "possession": possession}
            self.post(f"/{name}/keys", body)
        return str(made["log_key"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    app = create_app(Settings(data=tmp_path_factory.mktemp("service")))
    config = uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until, "the service did not start"
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Running(app, f"http://127.0.0.1:{port}")
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture
def agent() -> Signer:
    return Signer.make()


def test_a_registered_agent_appends_and_every_receipt_checks(
    service: Running, agent: Signer, tmp_path: Path
) -> None:
    service.create("one-by-one", "public", agent)
    with Ledger(service.url, ledger="one-by-one", signer=agent, state_dir=tmp_path) as ledger:
        first = ledger.append("note/1", {"hello": "world"})
        second = ledger.append("note/1", {"hello": "again"}, causes=[first], stream="run-1")
        assert second.index == first.index + 1
        assert parse_record(second.record).refs[0].to == first.leaf_hash
        assert ledger.checkpoint().size == second.index + 1


def test_batches_go_in_whole_and_bad_records_are_told_apart(
    service: Running, agent: Signer, tmp_path: Path
) -> None:
    log_key = service.create("batches", "public", agent)
    with Ledger(
        service.url, ledger="batches", signer=agent, state_dir=tmp_path, log_key=log_key
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


def test_enqueued_records_all_arrive(service: Running, agent: Signer, tmp_path: Path) -> None:
    service.create("queued", "public", agent)

    async def run() -> list[Receipt]:
        async with AsyncLedger(
            service.url, ledger="queued", signer=agent, state_dir=tmp_path
        ) as ledger:
            queued = [await ledger.enqueue("note/1", n, stream="run") for n in range(200)]
            return await asyncio.gather(*queued)

    receipts = asyncio.run(run())
    assert [parse_record(receipt.record).n for receipt in receipts] == list(range(200))
    assert len({receipt.index for receipt in receipts}) == 200


def test_a_stranger_is_refused_with_the_services_reason(
    service: Running, agent: Signer, tmp_path: Path
) -> None:
    service.create("members-only", "public")
    with (
        Ledger(service.url, ledger="members-only", signer=agent, state_dir=tmp_path) as ledger,
        pytest.raises(StandingError, match="not registered"),
    ):
        ledger.append("note/1", 1)


def test_a_ledger_that_is_not_public_needs_a_token_to_be_checked(
    service: Running, agent: Signer, tmp_path: Path
) -> None:
    service.create("private", "private", agent)
    with (
        Ledger(service.url, ledger="private", signer=agent, state_dir=tmp_path) as ledger,
        pytest.raises(AccessError),
    ):
        ledger.append("note/1", 1)
    with Ledger(
        service.url, ledger="private", signer=agent, state_dir=tmp_path, token=service.reader
    ) as ledger:
        receipts = [ledger.append("note/1", number) for number in range(3)]
    assert len({receipt.index for receipt in receipts}) == 3
