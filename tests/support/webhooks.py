"""A webhook's other side: takes what is posted, and answers as the test says, or does not."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hook:
    """``statuses`` are answered in turn, the last one for ever."""

    port: int = 0
    statuses: list[int] = field(default_factory=lambda: [200])
    headers: dict[str, str] = field(default_factory=dict)
    hang_s: float = 0.0
    drips: bool = False
    floods: bool = False
    bodies: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)

    def wait_for(self, count: int, timeout_s: float = 10.0) -> list[Any]:
        end_s = time.monotonic() + timeout_s
        while len(self.bodies) < count and time.monotonic() < end_s:
            time.sleep(0.02)
        assert len(self.bodies) >= count, f"{len(self.bodies)} posts, not {count}"
        return self.bodies


@contextmanager
def hooked(tls: ssl.SSLContext | None = None) -> Iterator[Hook]:
    """Listen on a port of this machine until the block ends."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.paths.append(self.path)
            hook.hosts.append(self.headers["Host"])
            hook.bodies.append(json.loads(body))
            status = hook.statuses.pop(0) if len(hook.statuses) > 1 else hook.statuses[0]
            time.sleep(hook.hang_s)
            try:
                self._answer(status)
            except OSError:
                self.close_connection = True

        def _answer(self, status: int) -> None:
            self.send_response(status)
            for name, value in hook.headers.items():
                self.send_header(name, value)
            self.end_headers()
            while hook.drips or hook.floods:
                self.wfile.write(b"x" * (65_536 if hook.floods else 1))
                if hook.drips:
                    time.sleep(0.05)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    hook.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
