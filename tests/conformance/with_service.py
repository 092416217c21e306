"""Run a command while a fresh LedgerGrid service with a filled log answers.

    python -m tests.conformance.with_service sqlite|postgresql ENTRIES COMMAND [ARGUMENT ...]

The command finds what it needs in ``CONFORMANCE_LOG``, ``CONFORMANCE_API``, ``CONFORMANCE_VKEY``,
``CONFORMANCE_SIZE`` and, if the service wants a token, ``LEDGERGRID_TOKEN``. Its exit status is
ours. Nothing is left behind: database, files and service end with it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.conformance.fill import Filled, Place, fill
from tests.support.postgresql import postgresql

START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 30


class ServiceError(Exception):
    """The service did not come up as it should."""


def main(store: str, entries: int, command: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="ledgergrid-conformance-") as name:
        folder = Path(name)
        with database(store, folder) as url:
            place = Place(url, folder, free_port())
            started = time.monotonic()
            filled = fill(place, entries)
            print(f"filled {entries} entries in {time.monotonic() - started:.1f} s", flush=True)
            with service(place, filled, entries):
                return subprocess.run(
                    command, env=environment(place, filled, entries), check=False
                ).returncode


@contextmanager
def database(store: str, folder: Path) -> Iterator[str]:
    """Give a fresh database of the named kind for as long as the block lasts."""
    if store == "sqlite":
        yield f"sqlite:///{folder / 'ledger.db'}"
    elif store == "postgresql":
        with postgresql() as server:
            yield server.url(server.create_database())
    else:
        raise ServiceError(f"no store called {store!r}: sqlite or postgresql")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def service(place: Place, filled: Filled, entries: int) -> Iterator[None]:
    """Serve the log for as long as the block lasts."""
    with (place.folder / "service.log").open("w+b") as log:
        process = subprocess.Popen(
            filled.command,
            env={**os.environ, **filled.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for_checkpoint(place, filled, entries, process)
            yield
        except ServiceError as error:
            log.seek(0)
            said = log.read()[-4000:].decode(errors="replace")
            raise ServiceError(f"{error}; the service said:\n{said}") from None
        finally:
            stop(process)


def wait_for_checkpoint(
    place: Place, filled: Filled, entries: int, process: subprocess.Popen[bytes]
) -> None:
    """Wait until the service shows a checkpoint, which must be of all the entries."""
    deadline = time.monotonic() + START_TIMEOUT_S
    last: OSError | None = None
    while process.poll() is None and time.monotonic() < deadline:
        try:
            checkpoint = fetch(address(place, filled.log_path) + "/checkpoint", filled.token)
        except OSError as error:  # Nobody listens yet, or not everything is ready.
            last = error
            time.sleep(0.1)
            continue
        if checkpoint.split(b"\n")[1:2] != [b"%d" % entries]:
            raise ServiceError(f"not a checkpoint of {entries} entries: {checkpoint[:500]!r}")
        return
    raise ServiceError(f"no checkpoint (exit status {process.poll()}): {last}")


def address(place: Place, path: str) -> str:
    return f"http://127.0.0.1:{place.port}{path}"


def fetch(url: str, token: str) -> bytes:
    request = urllib.request.Request(url)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as response:
        body: bytes = response.read()
        return body


def environment(place: Place, filled: Filled, entries: int) -> dict[str, str]:
    return {
        **os.environ,
        "CONFORMANCE_LOG": address(place, filled.log_path),
        "CONFORMANCE_API": address(place, filled.api_path),
        "CONFORMANCE_VKEY": filled.vkey,
        "CONFORMANCE_SIZE": str(entries),
        "LEDGERGRID_TOKEN": filled.token,
    }


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    if len(sys.argv) < 4 or not sys.argv[2].isdecimal():
        sys.exit(__doc__)
    try:
        sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
    except ServiceError as failure:
        sys.exit(f"with_service: {failure}")
