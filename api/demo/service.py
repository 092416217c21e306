"""A real ``ledgergrid serve`` in a process of its own, and the commands run against it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_START_S = 60


def command(*words: str, **environment: str) -> str:
    """Run a ``ledgergrid`` command; return what it printed, or stop with its error."""
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"ledgergrid {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Service:
    """A service that answers, and an admin's token for it."""

    url: str
    token: str
    process: subprocess.Popen[bytes]

    def command(self, *words: str) -> str:
        return command(*words, LEDGERGRID_URL=self.url, LEDGERGRID_TOKEN=self.token)

    def describe(self, ledger: str) -> Mapping[str, Any]:
        """Return what the service says of a ledger: origin, log key, size."""
        return self.get(f"/api/v1/ledgers/{ledger}")

    def ask(self, path: str, token: str) -> httpx.Response:
        """Ask for something as whoever holds a token."""
        return httpx.get(self.url + path, headers={"Authorization": f"Bearer {token}"})

    def get(self, path: str) -> Mapping[str, Any]:
        answer = self.ask(path, self.token)
        answer.raise_for_status()
        found: Mapping[str, Any] = answer.json()
        return found

    def wait(self) -> None:
        self.process.wait()


@contextmanager
def running(
    folder: Path, *options: str, admin: str = "demo", **environment: str
) -> Iterator[Service]:
    """Start a service on what is in ``folder``, perhaps nothing; stop it at the end.

    ``admin`` names its admin's token, which is a new one at each start.
    """
    port = _free_port()
    log = (folder / "service.log").open("wb")
    words = ["serve", "--data", str(folder / "data"), "--port", str(port), *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", *words],
        env={**os.environ, **environment},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, folder / "service.log")
        data = str(folder / "data")
        token = command("token", "create", admin, "--role", "admin", "--data", data)
        yield Service(url, token, process)
    finally:
        process.terminate()
        process.wait(timeout=_START_S)
        log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            if process.poll() is not None:
                break
        time.sleep(0.05)
    raise SystemExit(f"the service did not start:\n{log.read_text()[-2000:]}")
