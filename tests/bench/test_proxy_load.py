"""What the proxy's load generator sends, and when it believes that an answer is whole."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import uvloop

from api.demo.exchanges import read_exchanges
from api.demo.upstream import Manner, replaying
from tests.bench.clients import drive
from tests.bench.proxy import write_exchanges
from tests.bench.proxy_load import Run, requests


def body(request: bytes) -> Any:
    head, _, raw = request.partition(b"\r\n\r\n")
    assert f"content-length: {len(raw)}".encode() in head
    return json.loads(raw)


def test_prompts_differ_and_twenty_calls_are_a_session() -> None:
    made = list(islice(requests("plain", "run"), 40))
    assert len({json.dumps(body(each)) for each in made}) == 40
    sessions = {each.partition(b"session-id: ")[2].partition(b"\r\n")[0] for each in made}
    assert sessions == {b"run-0", b"run-1", b"run-2"}


def test_each_call_of_a_talk_repeats_what_was_said() -> None:
    first, second = (body(each)["messages"] for each in islice(requests("talk", "run"), 2))
    assert second[: len(first)] == first
    assert [each["role"] for each in second] == ["system", "user", "assistant", "user"]


def test_answers_with_a_length_and_in_chunks_are_read_to_their_ends(tmp_path: Any) -> None:
    exchanges = list(read_exchanges(write_exchanges(tmp_path / "exchanges.jsonl")))
    with replaying(exchanges, Manner(answers_anything=True)) as upstream:
        port = int(upstream.url.rpartition(":")[2])
        for kind in ("plain", "stream"):
            run = Run(islice(requests(kind, "run"), 30))
            uvloop.run(drive(port, run, 3, 30))
            assert (len(run.latencies_s), run.errors) == (30, 0)
    assert upstream.count == 60
