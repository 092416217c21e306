"""Agents, as a proxy sees them: keep-alive clients that ask, read the answer, and ask again.

    python -m tests.bench.proxy_load PORT CLIENTS CALLS SECONDS KIND NAME

A process of its own on raw sockets and uvloop, lean enough not to be what is measured. KIND is
``plain``, ``stream`` or ``talk``. Prompts differ from call to call, and twenty calls are a session;
``talk`` is one conversation, in which each call repeats all that was said. NAME begins the names of
sessions. Prints one line of JSON.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from typing import Final

from tests.bench import clients
from tests.bench.figures import percentile

PATH: Final = "/v1/chat/completions"
MODEL: Final = "gpt-5-mini"
CALLS_PER_SESSION: Final = 20
_WORDS: Final = tuple(
    f"{noun}{end}"
    for noun in ("pallet", "truck", "train", "dock", "invoice", "carrier", "route", "price")
    for end in ("", "s", "-side", " 7")
)


def sentence(number: int, words: int) -> str:
    """Return text of so many words, another for each number."""
    state, said = number * 2_654_435_761 % 2**32 or 1, []
    for _ in range(words):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        said.append(_WORDS[(state >> 8) % len(_WORDS)])
    return f"{number}: {' '.join(said)}."


def request(body: object, session: str) -> bytes:
    """Return a request as an SDK would send it."""
    raw = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n"
        "authorization: Bearer sk-bench\r\ncontent-type: application/json\r\n"
        f"x-agenticledger-session-id: {session}\r\nx-agenticledger-agent-name: bench\r\n"
        f"content-length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


def requests(kind: str, run: str) -> Iterator[bytes]:
    """Yield requests without end."""
    system = {"role": "system", "content": sentence(0, 60)}
    if kind == "talk":
        said = [system]
        for number in itertools.count(1):
            said.append({"role": "user", "content": sentence(number, 60)})
            yield request({"model": MODEL, "messages": said}, f"{run}-talk")
            said.append({"role": "assistant", "content": sentence(-number, 120)})
    for number in itertools.count(1):
        asked = {"role": "user", "content": sentence(number, 120)}
        body: dict[str, object] = {"model": MODEL, "messages": [system, asked], "max_tokens": 300}
        if kind == "stream":
            body["stream"] = True
        yield request(body, f"{run}-{number // CALLS_PER_SESSION}")


class Run(clients.Run):
    def count_refused(self, answer: bytes) -> int:
        return int(answer[9:12] != b"200")


def main(arguments: list[str]) -> None:
    port, count, calls, seconds, kind, name = arguments
    made = itertools.islice(requests(kind, name), int(calls))
    # Made before the clock starts, unless there are too many to hold.
    run = Run(iter(list(made)))
    result = {
        **clients.measure(int(port), run, int(count), float(seconds)),
        "calls": len(run.latencies_s),
        "first_p50_ms": percentile(run.firsts_s, 0.5) * 1000,
        "sent_bytes": run.sent_bytes,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
