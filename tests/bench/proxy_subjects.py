"""What is measured side by side: nothing in between, a bare pass-through, ourselves, another tool.

Each is started fresh, in a folder of its own, before the same upstream. The other tool is installed
from its package into ``build/peers``, with the defaults that it has: it is what its users run.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.place import START_TIMEOUT_S, ServiceError, free_port, running
from tests.support.postgresql import Server

PEER: Final = "agentic-ledger"
PEER_VERSION: Final = "0.15.0"
PEERS: Final = Path("build/peers")


@dataclass(frozen=True)
class Upstream:
    """The recorded provider, in a process of its own."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Subject:
    """Something that answers calls. ``pid`` is 0 where there is nothing in between."""

    port: int
    pid: int
    log: Path | None = None
    disk_bytes: Callable[[], int] | None = None


@contextmanager
def upstream(
    exchanges: Path, folder: Path, *, pause_ms: float = 0, think_ms: float = 0
) -> Iterator[Upstream]:
    port = free_port()
    command = [sys.executable, "-m", "api.demo.upstream", str(exchanges), "--port", str(port)]
    command += ["--answer-anything", "--pause-ms", str(pause_ms), "--think-ms", str(think_ms)]
    log = folder / f"upstream-{port}.log"
    with running(command, log) as process:
        wait_until_listening(port, process, log)
        yield Upstream(port)


@contextmanager
def direct(before: Upstream, folder: Path) -> Iterator[Subject]:
    yield Subject(before.port, 0)


@contextmanager
def bare(before: Upstream, folder: Path) -> Iterator[Subject]:
    """Start the pass-through on the server that we run on, too."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.bench.proxy_bare:app", "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--lifespan", "off"]
    command += ["--no-proxy-headers", "--no-server-header", "--no-date-header"]
    log = folder / "bare.log"
    with running(command, log, {"UPSTREAM": before.url}) as process:
        wait_until_listening(port, process, log)
        yield Subject(port, process.pid, log)


@contextmanager
def ours(
    before: Upstream, folder: Path, server: Server | None = None, **settings: str
) -> Iterator[Subject]:
    """Start ``ledgergrid serve``; its ledgers lie in the folder, or on a PostgreSQL server."""
    port, data, log = free_port(), folder / "data", folder / "service.log"
    name = server.create_database() if server else ""
    environment = {"LEDGERGRID_UPSTREAM_URL": before.url, "LEDGERGRID_DATA": str(data)}
    if server:
        environment["LEDGERGRID_DATABASE"] = server.url(name)
    environment |= {f"LEDGERGRID_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "api.cli", "serve", "--port", str(port)]

    def disk_bytes() -> int:
        on_server = server_bytes(server, name) if server else 0
        return on_server + folder_bytes(data)

    with running(command, log, environment) as process:
        wait_until_listening(port, process, log)
        yield Subject(port, process.pid, log, disk_bytes)


@contextmanager
def theirs(before: Upstream, folder: Path, **settings: str) -> Iterator[Subject]:
    """Start the other tool on SQLite, as its own documentation starts it."""
    port, data, log = free_port(), folder / "data", folder / "service.log"
    data.mkdir(exist_ok=True)
    environment = {
        "AGENTICLEDGER_UPSTREAM_URL": before.url,
        "AGENTICLEDGER_DSN": f"sqlite:///{data / 'agenticledger.db'}",
        "AGENTICLEDGER_HOST": "127.0.0.1",
        "AGENTICLEDGER_PORT": str(port),
        "HOME": str(folder),
        "PYTHONPATH": "",
    }
    environment |= {f"AGENTICLEDGER_{name}": value for name, value in settings.items()}
    command = [str(peer_python()), "-m", "agenticledger.proxy"]
    with running(command, log, environment) as process:
        wait_until_listening(port, process, log)
        yield Subject(port, process.pid, log, lambda: folder_bytes(data))


def peer_python() -> Path:
    """Install the other tool into an environment of its own, once; return its Python."""
    folder = PEERS / f"{PEER}-{PEER_VERSION}"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {PEER} {PEER_VERSION} into {folder} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"{PEER}=={PEER_VERSION}"], check=True)
        ready.touch()
    return python.absolute()


def folder_bytes(folder: Path) -> int:
    """Return what a folder's files hold, once SQLite's journals are written back."""
    total = 0
    for path in folder.rglob("*"):
        try:
            if path.suffix == ".db":
                _write_back(path)
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # A temporary file, gone meanwhile.
    return total


def _write_back(file: Path) -> None:
    with closing(sqlite3.connect(file, timeout=30)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def server_bytes(server: Server, name: str) -> int:
    """Return what a database holds, once what is only in memory is on disk."""
    with server.connect() as connection:
        connection.execute("CHECKPOINT")
        row = connection.execute("SELECT pg_database_size(%s)", (name,)).fetchone()
    return int(row[0]) if row else 0


def wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise ServiceError(f"nothing listens on {port}:\n{log.read_text(errors='replace')[-2000:]}")


def has_peer() -> bool:
    """Say whether the other tool may be measured: it has to come from a package registry."""
    return os.environ.get("LEDGERGRID_BENCH_PEER", "1") != "0"
