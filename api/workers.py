"""Worker processes that share the connections evenly.

With one listening socket for all, whoever wakes first takes every connection that has come
in by then, and the others look on. With a socket each on the same port (SO_REUSEPORT) the
kernel spreads connections by their addresses.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from ledger_core.errors import SettingsError


@dataclass(frozen=True)
class AppFactory:
    """Makes a worker's app, which has our end of the line to the keeper, if there is one."""

    line: socket.socket | None

    def __call__(self) -> Any:
        # All of the service is imported here: a worker has to say that it lives before.
        from api.app import app_from_environment
        from api.keeper import KeptElsewhere

        return app_from_environment(None if self.line is None else KeptElsewhere(self.line))


class Workers(Multiprocess):
    """One socket a worker; a worker that takes the place of a dead one listens on all."""

    def init_processes(self) -> None:
        for listening in self.sockets:
            process = Process(self.config, [listening])
            process.start()
            self.processes.append(process)


def run(config: uvicorn.Config) -> None:
    """Serve with ``config.workers`` processes until told to stop."""
    # Alone first: another service on this port would get a share of our connections.
    _bind(config, shared=False).close()
    with ExitStack() as held:
        sockets = [held.enter_context(_bind(config, shared=True)) for _ in range(config.workers)]
        Workers(config, sockets).run()


def _bind(config: uvicorn.Config, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        bound.bind((config.host, config.port))
    except OSError as error:
        bound.close()
        where = f"{config.host}:{config.port}"
        raise SettingsError(
            f"cannot listen on {where} ({error.strerror}): choose another --host or --port"
        ) from None
    bound.set_inheritable(True)
    return bound
