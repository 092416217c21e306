"""The load generator: keep-alive clients that send prepared requests and look at statuses.

    python -m tests.bench.load PORT FILE CLIENTS SECONDS LINES

A process of its own, lean enough not to be what is measured: raw sockets on uvloop, requests
encoded before the clock starts, answers read for their status only. It ends when every request
has been sent or the time is up, and prints one line of JSON. Talks to 127.0.0.1, to nobody else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.bench import clients

_CREATED = b" 201 "
_CREATED_LINE = b'"status":201'


@dataclass
class Run(clients.Run):
    """``lines`` is a batch's size, 0 for single records: every one must become an entry."""

    lines: int = 0

    def count_refused(self, answer: bytes) -> int:
        if self.lines:
            return self.lines - answer.count(_CREATED_LINE)
        return int(answer[8:13] != _CREATED)


def read_requests(path: Path) -> list[bytes]:
    """Read what :func:`write_requests` wrote."""
    raw = path.read_bytes()
    requests, at = [], 0
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 4])
        requests.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return requests


def write_requests(path: Path, target: str, bodies: Iterator[bytes]) -> None:
    """Write a POST request for each body, ready to be sent."""
    head = f"POST {target} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    with path.open("wb") as file:
        for body in bodies:
            request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
            file.write(len(request).to_bytes(4) + request)


def batches(lines: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Join lines into NDJSON bodies of ``size`` records."""
    while batch := list(islice(lines, size)):
        yield b"\n".join(batch)


def main(arguments: list[str]) -> None:
    port, file, count, seconds, lines = arguments
    run = Run(iter(read_requests(Path(file))), lines=int(lines))
    result = {
        **clients.measure(int(port), run, int(count), float(seconds)),
        "requests": len(run.latencies_s),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
