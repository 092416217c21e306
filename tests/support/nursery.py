"""The process that the others are forked from (:mod:`tests.support.forking`).

A message on its socket is an order, with the four files that come along: three for the new process,
and one that its end is written to. The answer is the process's number.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, Final

from ledger_core import fail_points

MAX_JOB_BYTES: Final = 1 << 18
HEAVY: Final = (
    "api.cli",
    "api.app",
    "httpx",
    "langchain_core",
    "pytest",
    "tests.crash.load",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)
RUN_AGAIN: Final = ("api.cli", "tests.crash.load")
"""What is run as ``__main__``, and so must not have been imported."""


def main() -> None:
    """Fork on order until nobody is left to give one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests.
    for name in HEAVY:
        importlib.import_module(name)
    for name in RUN_AGAIN:
        del sys.modules[name]
    assert threading.active_count() == 1, "what has threads cannot be forked"
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        become = _attend(control)
    if become is not None:
        become()


def _attend(control: socket.socket) -> Callable[[], None] | None:
    """Return in each child, with what it is to become, and at the end, with None."""
    running: dict[int, int] = {}
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _bury(running)
        if control.fileno() not in ready:
            continue
        message, files, _, _ = socket.recv_fds(control, MAX_JOB_BYTES, 4)
        if not message:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
            return None
        *standard, end = files
        pid = os.fork()
        if pid == 0:
            _leave(standard, [*running.values(), end, woken, waker])
            return functools.partial(_become, **json.loads(message))
        for each in standard:
            os.close(each)
        running[pid] = end
        control.send(str(pid).encode())


def _leave(standard: Sequence[int], others: Sequence[int]) -> None:
    """Forget in a child what is the nursery's."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in others:
        os.close(each)
    for number, each in enumerate(standard):
        os.dup2(each, number)
        os.close(each)


def _bury(running: dict[int, int]) -> None:
    """Tell of everyone who has ended."""
    for pid in list(running):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            end = running.pop(pid)
            with suppress(BrokenPipeError):
                os.write(end, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(end)


def _become(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Do what ``python ARGUMENTS`` does; how it ends is up to the interpreter."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    importlib.reload(fail_points)  # It looks at the environment once.
    how, what, *_ = arguments
    sys.argv = [how, *arguments[2:]]
    sys.path[0] = folder if how == "-m" else ""
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    names: dict[str, Any] = module.__dict__
    exec(compile(what, "<string>", "exec"), names)


if __name__ == "__main__":
    main()
