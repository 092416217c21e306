"""A real service for tests: uvicorn in a thread, on a port of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from api.app import App, create_app
from api.settings import Settings
from ledger_core import clock, ids
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.submission import Submission, format_submission, seal_json
from ledger_core.ledger import Ledger
from ledger_core.records.possession import prove_possession
from ledger_core.storage.tokens import TokenRole
from tests.support.migrated import lay_migrated

ROUTE = "/api/v1/ledgers"


class Author:
    """An agent with a key, who may or may not be registered."""

    def __init__(self, ledger: Ledger) -> None:
        self.private = PrivateKey.generate()
        self.key = ids.format_key(self.private.public_key)
        self.ledger = ledger
        self.possession = prove_possession(ledger.origin, self.private)

    def note(self, body: bytes = b'{"hello":"world"}', type_: str = "note/1") -> Submission:
        return seal_json(self.ledger.origin, type_, body, self.private, clock.now_ms())

    def line(self, body: bytes = b'{"hello":"world"}', type_: str = "note/1") -> bytes:
        return format_submission(self.note(body, type_))


class Live:
    """A running service with a private ledger ``main``."""

    def __init__(self, app: App, url: str) -> None:
        self.app = app
        self.url = url
        self.service = app.service
        self.main = app.service.ledgers.get("main")
        self.tokens = {role: self.token(role) for role in ("admin", "reader")}

    def token(self, role: Any, ledger: str | None = None, party: str | None = None) -> str:
        kind: TokenRole = role
        name = f"{role}-{ids.new_record_id()}"
        return self.service.tokens.create(name, kind, ledger, party=party)

    def http(self, role: str | None = None, token: str | None = None) -> httpx.Client:
        token = self.tokens[role] if role else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)

    def register(self, author: Author) -> Author:
        with self.http("admin") as http:
            body = {"key": author.key, "roles": ["agent"], "possession": author.possession}
            answer = http.post(f"{ROUTE}/{author.ledger.name}/keys", json=body)
        assert answer.status_code == 201, answer.text
        return author

    def author(self, ledger: Ledger | None = None) -> Author:
        return self.register(Author(ledger or self.main))


class _Server(uvicorn.Server):
    """Says when it has started, and stops when told to: uvicorn's own looks ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_told = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._is_told.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.has_begun.set()
        if not await self.on_tick(0):
            await self._is_told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        # Nobody needs to be waited for, and uvicorn's own waits all the same.
        for server in self.servers:
            server.close()
        await self.lifespan.shutdown()


@contextmanager
def running(settings: Settings) -> Iterator[Live]:
    """Serve until the block ends."""
    if settings.sqlite_file is not None and not settings.sqlite_file.exists():
        lay_migrated(settings.sqlite_file)
    app = create_app(settings)
    if "main" not in app.service.ledgers.names():
        app.service.ledgers.create("main")
    server = _Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_config=None,
            access_log=False,
            date_header=False,
            timeout_graceful_shutdown=2,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.has_begun.wait(0.1):
            assert thread.is_alive(), "the service did not start"
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Live(app, f"http://127.0.0.1:{port}")
    finally:
        server.stop()
        thread.join(30)


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Return status and code of a refusal, which must be problem+json."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    members = answer.json()
    assert members["status"] == answer.status_code
    assert members["type"] == f"urn:ledgergrid:problem:{members['code']}"
    assert members["title"] and members["detail"]
    return answer.status_code, members["code"]
