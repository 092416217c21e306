"""Two processes on one PostgreSQL: a budget holds for both together."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

from tests.bench.place import free_port
from tests.support.raw_client import exchange, request
from tests.support.raw_upstream import raw_upstream, response

ROOT = Path(__file__).resolve().parents[3]
ANSWER = b'{"model":"gpt-4o","choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":1000}}'
ASKED = b'{"model":"gpt-4o","max_tokens":1000,"messages":[]}'


def test_sixty_calls_over_two_workers_overshoot_by_one_at_most(
    postgresql_url: str, tmp_path: Path
) -> None:
    port = free_port()
    with raw_upstream() as upstream:
        upstream.answer = lambda seen: [0.3, response(ANSWER)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sdk")]),
            "LEDGERGRID_DATA": str(tmp_path / "data"),
            "LEDGERGRID_DATABASE": postgresql_url,
            "LEDGERGRID_UPSTREAM_URL": upstream.url,
            "LEDGERGRID_BUDGET_DAILY": "0.01",
        }
        command = [sys.executable, "-m", "api.cli", "serve", "--port", str(port), "--workers", "2"]
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            _wait_until_ready(port, process)
            raw = request(("127.0.0.1", port), "/v1/chat/completions", ASKED)
            with ThreadPoolExecutor(60) as threads:
                got = list(threads.map(lambda _: exchange(("127.0.0.1", port), raw, 60), range(60)))
        finally:
            process.terminate()
            process.wait(30)
        assert Counter(each.status for each in got) == {200: 1, 429: 59}
        assert len(upstream.seen) == 1


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end_s:
        with (
            contextlib.suppress(OSError),
            urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as got,
        ):
            if got.status == 200:
                return
        time.sleep(0.05)
