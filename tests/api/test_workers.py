"""Workers: each takes its share of the connections, and nobody shares a port by accident."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
import uvicorn

from api import workers
from ledger_core.errors import SettingsError
from tests.bench.place import Place, serving

CONNECTIONS = 48
PATIENCE_S = 30


def test_two_workers_share_the_connections(tmp_path: Path) -> None:
    """With one socket for both, the one that woke first had them all."""
    place = Place("sqlite", tmp_path, "")
    deadline = time.monotonic() + PATIENCE_S
    with serving(place, workers=2) as served:
        # The service is ready when its first worker listens; the other may take a while yet.
        while len(shares := count_shares(served.pid, served.port)) < 2:
            assert time.monotonic() < deadline, shares
            time.sleep(0.2)
    assert sum(shares) == CONNECTIONS


def count_shares(pid: int, port: int) -> list[int]:
    """Open connections, and return how many each worker took that took any."""
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    for each in held:
        each.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert each.recv(4096).startswith(b"HTTP/1.1 200")
    shares = [connections_of(worker, port) for worker in children_of(pid)]
    for each in held:
        each.close()
    return [share for share in shares if share]


def children_of(pid: int) -> list[int]:
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connections_of(pid: int, port: int) -> int:
    """Count a process's established connections at a port of its own."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = str(descriptor.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        fields[1].endswith(f":{port:04X}") and fields[3] == "01" and fields[9] in inodes
        for fields in lines
    )


def test_a_port_that_another_service_listens_on_is_not_shared() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        config = uvicorn.Config("nothing:here", port=other.getsockname()[1], workers=2)
        with pytest.raises(SettingsError, match="choose another"):
            workers.run(config)
