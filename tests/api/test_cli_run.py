"""``ledgergrid run``: the command is pointed at the proxy, and behaves as if it ran alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.commands.run import agent_environment
from api.demo.exchanges import read_exchanges
from api.demo.upstream import Upstream, replaying
from tests.api.test_cli import COMMAND, Shell, shell
from tests.support import forking

__all__ = ["shell"]

EXCHANGES = list(read_exchanges(Path(__file__).parents[2] / "api/demo/capture.jsonl"))
SHOW = "import json, os; print(json.dumps(dict(os.environ)))"
AGENT = """
import anthropic, openai, sys
messages = [{"role": "user", "content": "A subject line for the booking."}]
openai.OpenAI().chat.completions.create(model="gpt-5-mini", n=2, messages=messages)
anthropic.Anthropic().messages.count_tokens(
    model="claude-sonnet-4-6", messages=[{"role": "user", "content": "How long am I?"}]
)
sys.exit(7)
"""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with replaying(EXCHANGES) as upstream:
        yield upstream


def run(shell: Shell, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**shell.environment, **environment}
    words = ("-m", "api.cli", "run", *words)
    return forking.run(words, cwd=shell.folder, env=variables, timeout_s=120)


def test_the_commands_sdks_are_pointed_at_a_service_started_for_it(shell: Shell) -> None:
    done = run(shell, "--agent", "planner", "--session", "s-1", "--", sys.executable, "-c", SHOW)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    found = re.fullmatch(r"http://127\.0\.0\.1:\d+/s/s-1", seen["ANTHROPIC_BASE_URL"])
    assert found
    assert seen["OPENAI_BASE_URL"] == f"{found[0]}/v1" == seen["OPENAI_API_BASE"]
    headers = seen["OPENAI_CUSTOM_HEADERS"].split("\n")
    assert headers == ["x-ledgergrid-session-id: s-1", "x-ledgergrid-agent-name: planner"]
    assert "no call reached the ledger" in done.stderr
    assert (shell.folder / "data").is_dir()


def test_every_call_is_on_record_and_the_exit_code_is_the_commands(
    shell: Shell, upstream: Upstream
) -> None:
    done = run(
        shell,
        *("--session", "s-1", "--data", "d", "--", sys.executable, "-c", AGENT),
        LEDGERGRID_UPSTREAM_URL=upstream.url,
        OPENAI_API_KEY="sk-1",
        ANTHROPIC_API_KEY="sk-2",
    )
    assert done.returncode == 7, done.stderr
    assert upstream.count == 2
    assert "session s-1: 2 calls" in done.stderr
    assert "ledgergrid serve --data d" in done.stderr


def test_a_client_that_sends_no_headers_is_in_the_session_all_the_same(
    shell: Shell, upstream: Upstream
) -> None:
    code = (
        "import json, os, urllib.request as u\n"
        "body = {'model': 'text-embedding-3-small', 'input': ['two pallets to Lyon'],"
        " 'encoding_format': 'float'}\n"
        "url = os.environ['OPENAI_BASE_URL'] + '/embeddings'\n"
        "head = {'content-type': 'application/json'}\n"
        "u.urlopen(u.Request(url, json.dumps(body).encode(), head))\n"
    )
    words = ("--session", "bare-1", "--", sys.executable, "-c", code)
    done = run(shell, *words, LEDGERGRID_UPSTREAM_URL=upstream.url)
    assert done.returncode == 0, done.stderr
    assert "session bare-1: 1 call, " in done.stderr


def test_signals_reach_the_command_and_its_end_is_told(shell: Shell) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('asked to end'), sys.exit(3)))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [*COMMAND, "run", "--", sys.executable, "-c", code],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert (said, process.returncode) == ("asked to end\n", 3)


def test_a_command_that_a_signal_ends_is_told_as_shells_tell_it(shell: Shell) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run(shell, "--", sys.executable, "-c", code).returncode == 128 + signal.SIGKILL


def test_the_service_is_gone_when_the_command_is(shell: Shell) -> None:
    done = run(shell, "--", sys.executable, "-c", SHOW)
    port = json.loads(done.stdout)["LEDGERGRID_URL"].rpartition(":")[2]
    deadline = time.monotonic() + 10
    while is_served(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_served(port: str) -> bool:
    found = subprocess.run(["pgrep", "-f", f"serve --host 127.0.0.1 --port {port}"], check=False)
    return found.returncode == 0


def test_what_cannot_be_run_is_refused_before_anything_starts(shell: Shell) -> None:
    assert "no command" in shell.refused("run", "--", "no-such-command-here")
    assert "printable ASCII" in shell.refused("run", "--session", "é", "--", "true")
    shell.environment["LEDGERGRID_URL"] = "http://127.0.0.1:9"
    assert "nothing answers" in shell.refused("run", "--", "true")
    assert not (shell.folder / "data").exists()


def test_headers_and_proxies_that_were_set_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-team: blue\nx-ledgergrid-session-id: old")
    monkeypatch.setenv("NO_PROXY", "intranet")
    made = agent_environment("http://127.0.0.1:8080", {"session-id": "s-2"}, "lgt_secret")
    odd = agent_environment("http://127.0.0.1:8080", {"session-id": "run 2/3"}, None)
    assert odd["OPENAI_BASE_URL"] == "http://127.0.0.1:8080/v1"
    assert made["OPENAI_CUSTOM_HEADERS"].split("\n") == [
        "x-team: blue",
        "x-ledgergrid-session-id: s-2",
        "x-ledgergrid-key: lgt_secret",
    ]
    assert made["NO_PROXY"] == "intranet,127.0.0.1"
    assert "lgt_secret" not in "".join(v for k, v in made.items() if "HEADERS" not in k)
    assert made["PATH"] == os.environ["PATH"]
