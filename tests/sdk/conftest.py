"""A peer to talk to, and clients of both kinds to talk with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from ledger_core.formats.checkpoint import Checkpoint
from ledgergrid import AsyncLedger, Draft, Ledger, LedgerGridError, Receipt, Signer
from tests.support.peer import Peer, serve_peer

Outcomes = list[Receipt | LedgerGridError]


class AnyLedger(Protocol):
    """What both kinds of client can do, once the asyncio one is waited for."""

    @property
    def state_dir(self) -> Path: ...

    def append(self, type: str, payload: object = None, **options: Any) -> Receipt: ...

    def append_many(self, drafts: Iterable[Draft | tuple[str, object]]) -> Outcomes: ...

    def flush(self) -> Outcomes: ...

    def checkpoint(self) -> Checkpoint: ...

    def close(self) -> None: ...


class Awaited:
    """An asyncio client, driven by a loop of its own, a call at a time."""

    def __init__(self, url: str, **settings: Any) -> None:
        self._runner = asyncio.Runner()
        self._ledger = self._runner.run(self._open(url, settings))

    async def _open(self, url: str, settings: dict[str, Any]) -> AsyncLedger:
        return AsyncLedger(url, **settings)

    @property
    def state_dir(self) -> Path:
        return self._ledger.state_dir

    def append(self, type: str, payload: object = None, **options: Any) -> Receipt:
        return self._runner.run(self._ledger.append(type, payload, **options))

    def append_many(self, drafts: Iterable[Draft | tuple[str, object]]) -> Outcomes:
        return self._runner.run(self._ledger.append_many(drafts))

    def flush(self) -> Outcomes:
        return self._runner.run(self._ledger.flush())

    def checkpoint(self) -> Checkpoint:
        return self._runner.run(self._ledger.checkpoint())

    def close(self) -> None:
        self._runner.run(self._ledger.close())
        self._runner.close()


OpenLedger = Callable[..., AnyLedger]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with serve_peer() as peer:
        yield peer


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer.make()


@pytest.fixture(params=[Ledger, Awaited], ids=["plain", "asyncio"])
def open_ledger(
    request: pytest.FixtureRequest, peer: Peer, signer: Signer, tmp_path: Path
) -> Iterator[OpenLedger]:
    """Open a client of the peer, of each kind; all share one state folder, as after a restart."""
    with ExitStack() as closing:

        def open_one(**settings: Any) -> AnyLedger:
            settings = {"patience_s": 5.0, "timeout_s": 5.0, "signer": signer} | settings
            settings = {"state_dir": tmp_path / "state", "log_key": peer.log.vkey} | settings
            settings = {name: value for name, value in settings.items() if value is not None}
            ledger: AnyLedger = request.param(peer.url, ledger="main", **settings)
            closing.callback(ledger.close)
            return ledger

        yield open_one


def outbox_of(ledger: AnyLedger | Ledger | AsyncLedger) -> list[Path]:
    return sorted((ledger.state_dir / "outbox").glob("*.ndjson"))
