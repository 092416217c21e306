"""``ledgergrid run -- COMMAND``: any agent, on record, without a change to its code.

The command's SDKs are pointed at the proxy by the variables that they read themselves, and told by
address and default headers which session and agent their calls are of. If no service runs, one is
started for as long as the command lasts. The command's exit code is ours; signals go to it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote, urlsplit

import httpx
import typer

from api.commands.options import DEFAULT_URL, Data, TokenFile
from api.commands.remote import read_token
from api.proxy.session_paths import SESSION_NAME
from ledger_core.errors import SettingsError

_ASK_S: Final = 5.0
_START_S: Final = 60.0
_STOP_S: Final = 30.0
_SETTLE_S: Final = 3.0
_LABEL_CHARS: Final = 200
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_HEADERS: Final = ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS")
_KEY: Final = "x-ledgergrid-key"

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="LEDGERGRID_URL",
        help=f"The service to go through. [{DEFAULT_URL}, or one started for the command]",
    ),
]


def run(
    command: Annotated[list[str], typer.Argument(help="The command, after `--`.")],
    session: Annotated[str | None, typer.Option(help="Name of the session. [a new one]")] = None,
    agent: Annotated[str | None, typer.Option(help="Name of the agent. [the command's]")] = None,
    user: Annotated[str | None, typer.Option(help="On whose behalf it works.")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    data: Data = None,
) -> None:
    """Run a command with every call of a model on record, and say what it came to.

    The command's OpenAI and Anthropic SDKs, and what is built on them, go through the proxy.
    """
    program = shutil.which(command[0])
    if program is None:
        raise SettingsError(f"{command[0]} is no command that can be found")
    labels = {
        "session-id": _label(session or _new_session(program)),
        "agent-name": _label(agent or Path(program).name),
    }
    if user is not None:
        labels["user-id"] = _label(user)
    token = read_token(token_file)
    with _service(url, data) as (address, is_ours):
        environment = agent_environment(address, labels, token)
        code = _run([program, *command[1:]], environment)
        _report(address, labels["session-id"], token, data if is_ours else None, is_ours=is_ours)
    raise typer.Exit(code)


def _new_session(program: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(program).stem)[:40]
    return f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def _label(text: str) -> str:
    """Return what fits into a header: a name in plain letters."""
    if not 0 < len(text) <= _LABEL_CHARS or not (text.isascii() and text.isprintable()):
        raise SettingsError(f"a name here is 1 to {_LABEL_CHARS} printable ASCII characters")
    return text


# --- the command -----------------------------------------------------------------------


def agent_environment(address: str, labels: Mapping[str, str], token: str | None) -> dict[str, str]:
    """Return our environment, changed so that SDKs go through the proxy and say who they are.

    Variables of older SDKs, and LiteLLM's, are among them. A proxy for the outside world is told
    to leave this one out.
    """
    environment = dict(os.environ)
    session = labels["session-id"]
    # Not every client sends the headers below; every client sends its address.
    base = f"{address}/s/{session}" if re.fullmatch(SESSION_NAME, session) else address
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        environment[name] = f"{base}/v1"
    for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"):
        environment[name] = base
    headers = {f"x-ledgergrid-{name}": value for name, value in labels.items()}
    if token:
        headers[_KEY] = token
    lines = [f"{name}: {value}" for name, value in headers.items()]
    for name in _HEADERS:
        environment[name] = "\n".join([*_others(os.environ.get(name, "")), *lines])
    for name in ("NO_PROXY", "no_proxy"):
        host = urlsplit(address).hostname or ""
        environment[name] = ",".join(filter(None, [os.environ.get(name, ""), host]))
    environment["LEDGERGRID_URL"] = address
    environment["LEDGERGRID_SESSION_ID"] = session
    return environment


def _others(lines: str) -> list[str]:
    """Return the headers that were set before, but for ours."""
    return [x for x in lines.split("\n") if x and not x.lower().startswith("x-ledgergrid-")]


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command on our terminal; return its exit code, as a shell would."""
    with _ignoring_interrupts():
        process = subprocess.Popen(command, env=environment)
        kept = {
            n: signal.signal(n, lambda number, _: process.send_signal(number)) for n in _SIGNALS
        }
        try:
            code = process.wait()
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
    return 128 - code if code < 0 else code


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Leave Ctrl-C to the command: the terminal sends it to both of us.

    A handler, since what is ignored stays ignored in the command.
    """
    kept = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, kept)


# --- the service -----------------------------------------------------------------------


@contextmanager
def _service(url: str | None, data: Path | None) -> Iterator[tuple[str, bool]]:
    """Give a service's address, and whether it runs for this command only."""
    address = (url or DEFAULT_URL).rstrip("/")
    if _answers(address):
        yield address, False
    elif url is not None:
        raise SettingsError(f"nothing answers at {address}: start it with `ledgergrid serve`")
    else:
        with _started(data) as started:
            yield started, True


def _answers(address: str) -> bool:
    try:
        health = httpx.get(f"{address}/readyz", timeout=_ASK_S).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    return isinstance(health, dict) and "problems" in health


@contextmanager
def _started(data: Path | None) -> Iterator[str]:
    """Start a service on a port of its own; what it prints may hold its first admin's token."""
    address = f"http://127.0.0.1:{_free_port()}"
    words = ["serve", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", *words, *([] if data is None else ["--data", str(data)])],
        env={"LEDGERGRID_LOG_LEVEL": "warning", **os.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + _START_S
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SettingsError("no service could be started; `ledgergrid serve` says why")
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- what it came to -------------------------------------------------------------------


def _report(
    address: str, session: str, token: str | None, data: Path | None, *, is_ours: bool
) -> None:
    """Say on standard error what the session came to, and where to look at it."""
    found = _summary(address, session, token)
    if found is None:
        _say(f"session {session}: no call reached the ledger")
        _say("does the command use an OpenAI or Anthropic SDK, and no base URL of its own?")
        return
    calls = found["call_count"]
    told = [f"{calls} call" if calls == 1 else f"{calls} calls"]
    for name, word in (
        ("blocked_count", "refused"),
        ("error_count", "failed"),
        ("started_count", "not ended"),
        ("unpriced_count", "without a price"),
    ):
        if found.get(name):
            told.append(f"{found[name]} {word}")
    cost = found.get("total_cost_usd")
    told.append("cost unknown" if cost is None else f"{cost:.6f} USD")
    _say(f"session {session}: {', '.join(told)}")
    where = f"{DEFAULT_URL if is_ours else address}/session/{quote(session, safe='')}"
    if is_ours:
        option = "" if data is None else f" --data {data}"
        where = f"ledgergrid serve{option}, then {where}"
    _say(f"look at it: {where}")


def _summary(address: str, session: str, token: str | None) -> dict[str, Any] | None:
    """Ask until the session's calls are there to be read: what shows them follows the log."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    deadline = time.monotonic() + _SETTLE_S
    found: dict[str, Any] | None = None
    with httpx.Client(base_url=address, headers=headers, timeout=_ASK_S) as http:
        while time.monotonic() < deadline:
            try:
                answer = http.get("/api/sessions", params={"q": session})
                rows = answer.json() if answer.is_success else []
            except (httpx.HTTPError, ValueError):
                rows = []
            found = next((row for row in rows if row["session_id"] == session), found)
            if found is not None and not found.get("started_count"):
                return found
            time.sleep(0.1)
    return found


def _say(line: str) -> None:
    print(f"ledgergrid: {line}", file=sys.stderr, flush=True)
