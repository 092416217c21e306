"""Processes of ours that need not import anything: forked from one that has.

``python -m api.cli serve`` spends two seconds of processor time on imports before it does anything,
and the tests start hundreds of such processes. Here they are asked of a nursery
(:mod:`tests.support.nursery`), which imported everything once and forks: what comes is a process
like any other, with arguments, folder, variables, files and signals of its own.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PATHS: Final = os.pathsep.join((str(ROOT), str(ROOT / "sdk")))
_STDOUT, _STDERR = 1, 2


class Process:
    """One that was forked, as :class:`subprocess.Popen` shows it."""

    def __init__(self, arguments: Sequence[str], pid: int, status: int) -> None:
        self.args = arguments
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return its status: that of an exit, or minus the signal."""
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._status, select.POLLIN)
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            told = os.read(self._status, 16)
            os.close(self._status)
            assert told, "the nursery is gone"
            self.returncode = int(told)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Nursery:
    """The process that has imported everything; it ends when we do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno())],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": PATHS},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.close)

    def fork(self, job: bytes, files: Sequence[int]) -> tuple[int, int]:
        """Have a process begin; return its number, and what its end will be read from."""
        end, theirs = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._control, [job], [*files, theirs])
                pid = self._control.recv(16)
        finally:
            os.close(theirs)
        assert pid, "the nursery is gone"
        return int(pid), end

    def close(self) -> None:
        self._control.close()
        self._process.wait()


@functools.cache
def _nursery() -> Nursery:
    return Nursery()


def start(
    arguments: Sequence[str],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str],
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
) -> Process:
    """Start what ``python ARGUMENTS`` would: ``-m MODULE …`` or ``-c CODE …``."""
    job = {"arguments": arguments, "folder": str(cwd), "environment": dict(env)}
    with Path(os.devnull).open("rb") as nothing:
        files = [
            (stdin or nothing).fileno(),
            stdout.fileno() if stdout else _STDOUT,
            stderr.fileno() if stderr else _STDERR,
        ]
        return Process(arguments, *_nursery().fork(json.dumps(job).encode(), files))


def run(
    arguments: Sequence[str],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str],
    stdin: str = "",
    timeout_s: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` to its end, and return what it printed."""
    with (
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        said.write(stdin.encode())
        said.seek(0)
        process = start(arguments, cwd=cwd, env=env, stdin=said, stdout=out, stderr=err)
        try:
            code = process.wait(timeout_s)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(
            list(arguments), code, out.read().decode(), err.read().decode()
        )
