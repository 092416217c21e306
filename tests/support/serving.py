"""``ledgergrid serve`` in a process of its own, as operators run it: to be killed, or stopped."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from tests.support import forking

PATIENCE_S = 60
_direct = build_opener(ProxyHandler({}))


class Serving:
    """A service with its own folder; its settings are variables without their prefix."""

    def __init__(self, folder: Path, **settings: str) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port: int = taken.getsockname()[1]
        self.address = ("127.0.0.1", self.port)
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"serve-{self.port}.log"
        keep = {k: v for k, v in os.environ.items() if not k.startswith("LEDGERGRID_")}
        chosen = {"LEDGERGRID_DATA": str(folder / "data")}
        chosen |= {f"LEDGERGRID_{name.upper()}": value for name, value in settings.items()}
        with self.log.open("wb") as log:
            self._process = forking.start(
                ["-m", "api.cli", "serve", "--port", str(self.port)],
                cwd=folder,
                env={**keep, "PYTHONPATH": forking.PATHS, **chosen},
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> Serving:
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            assert self._process.poll() is None, self.log.read_text()
            try:
                with _direct.open(f"{self.url}/readyz", timeout=5):
                    return self
            except (URLError, OSError):
                time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """Kill it with no warning; from any thread."""
        os.kill(self._process.pid, signal.SIGKILL)

    def wait_killed(self) -> None:
        assert self._process.wait(PATIENCE_S) == -signal.SIGKILL, self.log.read_text()

    def ask_to_stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait_stopped(self) -> None:
        assert self._process.wait(PATIENCE_S) in (0, -signal.SIGTERM), self.log.read_text()

    def end(self) -> None:
        if self._process.poll() is None:
            self.ask_to_stop()
            self.wait_stopped()


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Serving]:
    """Serve until the block ends, or until it was killed."""
    service = Serving(folder, **settings)
    try:
        yield service.wait_until_ready()
    finally:
        service.end()
