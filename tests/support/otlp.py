"""An OTLP receiver: takes spans over HTTP, decodes them as a collector does, and can misbehave."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


@dataclass
class Receiver:
    """What came in. ``status`` is answered, 0: the connection breaks off, after ``hang_s``."""

    url: str = ""
    status: int = 200
    hang_s: float = 0.0
    requests: int = 0
    headers: list[Mapping[str, str]] = field(default_factory=list)
    groups: list[ResourceSpans] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        return [
            span for group in self.groups for scope in group.scope_spans for span in scope.spans
        ]

    def wait_for(self, count: int, timeout_s: float = 10.0) -> list[Span]:
        """Wait until so many spans are there."""
        end_s = time.monotonic() + timeout_s
        while len(self.spans) < count and time.monotonic() < end_s:
            time.sleep(0.02)
        assert len(self.spans) >= count, f"{len(self.spans)} spans, not {count}"
        return self.spans


def attributes_of(span: Span) -> dict[str, Any]:
    """Return a span's attributes as plain values."""
    return {each.key: _plain(each.value) for each in span.attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(each) for each in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Take spans on a port of this machine until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests += 1
            if receiver.hang_s:
                time.sleep(receiver.hang_s)
            if receiver.status == 0:
                self.close_connection = True
                return
            if receiver.status == 200:
                assert self.path == "/v1/traces"
                assert self.headers["Content-Type"] == "application/x-protobuf"
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.headers.append(dict(self.headers.items()))
                receiver.groups.extend(ExportTraceServiceRequest.FromString(body).resource_spans)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(receiver.status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
