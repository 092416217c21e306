"""Where a run's ledgers live: fresh databases, the ledger in them, and the service over them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ledger_core import ids
from ledger_core.keyring import open_keyring
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.ledgers import Ledgers
from ledger_core.records.possession import prove_possession
from ledger_core.records.types.key import Register
from ledger_core.storage.database import open_database
from ledger_core.storage.signer_memory import SignerMemory
from tests.bench.stock import LEDGER, ORIGIN, ORIGIN_PREFIX, Stock
from tests.support.postgresql import Server

START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 30
FOUNDING: Final = 2
"""Entries a ledger has before the stock's: its charter and the agent's key."""


class ServiceError(Exception):
    """A server did not come up."""


@dataclass(frozen=True)
class Place:
    """A database with one ledger, and the folder of the service that keeps it."""

    store: str
    folder: Path
    database_url: str
    database: str = ""
    """The database's name on its server."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def environment(self) -> dict[str, str]:
        return {
            "LEDGERGRID_DATA": str(self.data),
            "LEDGERGRID_DATABASE": self.database_url,
            "LEDGERGRID_ORIGIN_PREFIX": ORIGIN_PREFIX,
        }


@contextmanager
def opened(place: Place) -> Iterator[Ledgers]:
    """Open the ledgers as one process of the service does, without the follower."""
    database = open_database(place.database_url)
    memory = open_database(f"sqlite:///{place.data / 'signer.db'}")
    keyring = open_keyring(place.data / "keyring")
    keys = DatabaseKeyStore(f"sqlite:///{place.data / 'keys.db'}")
    ledgers = Ledgers(database, SignerMemory(memory), keyring, keys, origin_prefix=ORIGIN_PREFIX)
    try:
        yield ledgers
    finally:
        ledgers.close()
        database.close()
        memory.close()


def found(store: str, folder: Path, server: Server | None, stock: Stock) -> Place:
    """Make a fresh database with the ledger, in which the stock's agent may write."""
    folder.mkdir()
    name = server.create_database() if server else ""
    url = server.url(name) if server else f"sqlite:///{folder / 'ledger.db'}"
    place = Place(store, folder, url, name)
    place.data.mkdir()
    database = open_database(url)
    database.migrate()
    database.close()
    agent = stock.agent
    registration = Register(
        ids.format_key(agent.public_key), ("agent",), prove_possession(ORIGIN, agent)
    )
    with opened(place) as ledgers:
        ledgers.views.ensure()
        ledgers.create(LEDGER).append_as_operator("key/1", msgspec.json.encode(registration))
    return place


@dataclass(frozen=True)
class Serving:
    """A server that answers: its port, the process that the others descend from, its log."""

    port: int
    pid: int
    log: Path

    def logged_errors(self, most: int = 3) -> list[str]:
        """Return the first errors the service has logged."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if '"level": "error"' in line][:most]


@contextmanager
def serving(place: Place, workers: int) -> Iterator[Serving]:
    """Run ``ledgergrid serve`` over the place."""
    port = free_port()
    command = [sys.executable, "-m", "api.cli", "serve"]
    command += ["--port", str(port), "--workers", str(workers)]
    log = place.folder / f"service-{workers}.log"
    with running(command, log, place.environment()) as process:
        wait_until_ready(f"http://127.0.0.1:{port}/readyz", process, log)
        yield Serving(port, process.pid, log)


@contextmanager
def serving_bare(folder: Path) -> Iterator[Serving]:
    """Run the bare ASGI application on the same server as ours, in one process."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.bench.bare:app", "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "httptools"]
    command += ["--no-access-log", "--lifespan", "off", "--log-level", "warning"]
    command += ["--no-proxy-headers", "--no-server-header"]
    log = folder / "bare.log"
    with running(command, log) as process:
        wait_until_ready(f"http://127.0.0.1:{port}/", process, log)
        yield Serving(port, process.pid, log)


@contextmanager
def running(
    command: Sequence[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for as long as the block lasts."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except OSError:  # Nobody listens yet, or not everything is ready.
            time.sleep(0.05)
    raise ServiceError(f"{url} did not answer:\n{log.read_text(errors='replace')[-2000:]}")
