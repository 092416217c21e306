"""Budgets and rates over several processes of one service, as operators run it."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.raw_client import exchange, request
from tests.support.raw_upstream import RawUpstream, chunked, raw_upstream, response
from tests.support.serving import Serving, serving

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 1000}
ANSWER = json.dumps({"model": "gpt-4o", "choices": [], "usage": USAGE}).encode()
COST = 12_500
"""Micro-USD of that answer."""
WORDS = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"word " * 1000)
CALLS = 60


@contextmanager
def served(
    folder: Path, database: str, workers: int, **settings: str
) -> Iterator[tuple[Serving, RawUpstream]]:
    with raw_upstream() as upstream:
        upstream.answer = lambda seen: [0.3, response(ANSWER)]
        chosen = {"database": database, "workers": str(workers), "upstream_url": upstream.url}
        with serving(folder, **chosen, **settings) as service:
            yield service, upstream


def ask(service: Serving, *, stream: bool = False) -> int:
    asked = {"model": "gpt-4o", "max_tokens": 1000, "messages": [], "stream": stream}
    raw = request(service.address, CHAT, json.dumps(asked).encode())
    return exchange(service.address, raw, 60).status


def spent(service: Serving, count: int) -> tuple[int, int]:
    """Return what all calls cost, and how many were refused, once the views have caught up."""
    end_s = time.monotonic() + 30
    while True:
        rows = httpx.get(f"{service.url}/api/v1/spending", timeout=30).json()["spending"]
        (row,) = rows or [{"call_count": 0, "started_count": 1, "blocked_count": 0}]
        if row["call_count"] + row["blocked_count"] >= count and not row["started_count"]:
            return row["total_cost_microusd"], row["blocked_count"]
        assert time.monotonic() < end_s, row
        time.sleep(0.1)


@pytest.mark.parametrize("workers", [1, 2])
def test_sixty_calls_at_once_against_a_budget_of_one_call(
    tmp_path: Path, database_url: str, workers: int
) -> None:
    with served(tmp_path, database_url, workers, budget_daily="0.0125") as (service, upstream):
        with ThreadPoolExecutor(CALLS) as threads:
            statuses = Counter(threads.map(lambda _: ask(service), range(CALLS)))
        assert statuses.keys() == {200, 429}
        # The budget is that of one call: one passes, and one more may overshoot it.
        assert 1 <= statuses[200] <= 2
        assert len(upstream.posts) == statuses[200]
        cost, _ = spent(service, statuses[200])
        assert cost <= COST * 2
        assert [ask(service) for _ in range(4)] == [429] * 4
        assert len(upstream.posts) == statuses[200]


def test_a_rate_counts_the_calls_of_all_workers(tmp_path: Path, database_url: str) -> None:
    with served(tmp_path, database_url, 2, rate_limit_rpm="10") as (service, upstream):
        with ThreadPoolExecutor(30) as threads:
            statuses = Counter(threads.map(lambda _: ask(service), range(30)))
        assert statuses == {200: 10, 429: 20}
        assert len(upstream.posts) == 10


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.campaign)])
def test_streams_that_tell_no_usage_use_a_budget_up(
    tmp_path: Path, database_url: str, workers: int
) -> None:
    with served(tmp_path, database_url, workers, budget_daily="0.02") as (service, upstream):
        upstream.answer = lambda seen: chunked([WORDS, b"data: [DONE]\n\n"])
        statuses = [ask(service, stream=True) for _ in range(8)]
        assert statuses[0] == 200
        assert statuses[-1] == 429
        assert statuses.count(200) == 2
        assert spent(service, 2)[0] >= 20_000


def test_clients_that_leave_before_the_usage_comes_use_a_budget_up(
    tmp_path: Path, database_url: str
) -> None:
    with served(tmp_path, database_url, 1, budget_daily="0.02") as (service, upstream):
        usage = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
        head, *pieces, last = chunked([WORDS, usage, b"data: [DONE]\n\n"])
        upstream.answer = lambda seen: [head, pieces[0], 20.0, *pieces[1:], last]
        passed = 0
        while leave(service):
            passed += 1
            # The end of a call whose client left is written when nobody waits for it.
            spent(service, passed)
            assert passed < 8
        assert passed == 2
        assert spent(service, passed)[0] >= 20_000


def leave(service: Serving) -> bool:
    """Ask for a stream and leave behind its first words; return whether there were any."""
    asked = {"model": "gpt-4o", "max_tokens": 1000, "messages": [], "stream": True}
    data = b""
    with socket.create_connection(service.address, timeout=30) as connection:
        connection.sendall(request(service.address, CHAT, json.dumps(asked).encode()))
        while b"word word" not in data and b"budget_exceeded" not in data:
            piece = connection.recv(65536)
            assert piece, data
            data += piece
    return b"budget_exceeded" not in data
