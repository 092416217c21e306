"""What a proxy of this kind does when it matters, ours and another: asked, not read in a brochure.

    python -m tests.bench.proxy_probes

Each probe starts the tool fresh, with what its documentation says, before a recorded provider, and
prints what came of it. docs/reference/comparison.md shows the outcome.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Final

import httpx

from api.demo import service
from api.demo.telling import check_offline
from tests.bench import proxy_subjects
from tests.bench.proxy import write_exchanges
from tests.bench.proxy_load import MODEL, PATH
from tests.bench.proxy_subjects import Subject

PARALLEL: Final = 60
PATHS: Final = (f"{PATH}/", f"/{PATH}", "/v1/moderations", "/v1/completions", "/v1/audio/speech")
_WAIT_S: Final = 10
_SECRET: Final = b"truck"
_FORGED: Final = b"train"

Start = Callable[..., AbstractContextManager[Subject]]
TOOLS: Final[dict[str, Start]] = {
    "ledgergrid": proxy_subjects.ours,
    proxy_subjects.PEER: proxy_subjects.theirs,
}


def ask(
    subject: Subject, session: str, *, stream: bool = False, path: str = PATH
) -> httpx.Response:
    body = {
        "model": MODEL,
        "max_tokens": 300,
        "messages": [{"role": "user", "content": f"{_SECRET.decode()} or train?"}],
    }
    headers = {"x-agenticledger-session-id": session, "authorization": "Bearer sk-probe"}
    url = f"http://127.0.0.1:{subject.port}{path}"
    more = {"stream": True} if stream else {}
    return httpx.post(url, json=body | more, headers=headers, timeout=60)


def sessions(subject: Subject) -> dict[str, Any]:
    """Return what the tool lists, by session."""
    answer = httpx.get(f"http://127.0.0.1:{subject.port}/api/sessions", timeout=30)
    rows: list[Any] = answer.json() if answer.is_success else []
    return {row["session_id"]: row for row in rows}


# --- the probes ------------------------------------------------------------------------


def killed(start: Start, exchanges: Path, folder: Path, *, stream: bool) -> str:
    """Kill the proxy while the provider is answering; look for the call after a restart."""
    with proxy_subjects.upstream(
        exchanges, folder, think_ms=0 if stream else 3_000, pause_ms=100
    ) as before:
        with start(before, folder) as subject:
            asking = threading.Thread(target=_ask_and_lose, args=(subject, stream))
            asking.start()
            time.sleep(1.5)
            os.kill(subject.pid, signal.SIGKILL)
            asking.join(_WAIT_S)
        with start(before, folder) as subject:
            time.sleep(1)
            row = sessions(subject).get("killed")
    if row is None:
        return "the call is nowhere"
    state = "outcome unknown" if row.get("started_count") else "as if it had ended"
    return f"the call is listed, {state}"


def _ask_and_lose(subject: Subject, stream: bool) -> None:
    try:
        ask(subject, "killed", stream=stream)
    except httpx.HTTPError:
        return  # What the probe is about.


def killed_waiting(start: Start, exchanges: Path, folder: Path) -> str:
    return killed(start, exchanges, folder, stream=False)


def killed_streaming(start: Start, exchanges: Path, folder: Path) -> str:
    return killed(start, exchanges, folder, stream=True)


def by_other_paths(start: Start, exchanges: Path, folder: Path) -> str:
    """Make calls by paths of other kinds, and by other spellings of the usual one."""
    with proxy_subjects.upstream(exchanges, folder) as before, start(before, folder) as subject:
        for path in PATHS:
            ask(subject, "others", path=path)
        time.sleep(1)
        row = sessions(subject).get("others") or {"call_count": 0}
    return f"{row['call_count']} of {len(PATHS)} on record"


def overspent(start: Start, exchanges: Path, folder: Path) -> str:
    """Make many calls at once against a budget that the first one spends."""
    with (
        proxy_subjects.upstream(exchanges, folder, think_ms=500) as before,
        start(before, folder, BUDGET_SESSION="0.0004") as subject,
        ThreadPoolExecutor(PARALLEL) as pool,
    ):
        answers = list(pool.map(lambda _: ask(subject, "greedy").status_code, range(PARALLEL)))
    passed = answers.count(200)
    return f"{passed} of {PARALLEL} passed, {answers.count(429)} refused"


def edited(start: Start, exchanges: Path, folder: Path) -> str:
    """Change an answer in the database's files; see what the tool's own export makes of it."""
    with proxy_subjects.upstream(exchanges, folder) as before:
        with start(before, folder) as subject:
            ask(subject, "edited")
            time.sleep(2)
        changed = sum(map(_edit, (folder / "data").rglob("*.db")))
        with start(before, folder) as subject:
            time.sleep(1)
            if start is proxy_subjects.ours:
                return f"{changed} values changed; {_verify(subject, folder)}"
            answer = httpx.get(f"http://127.0.0.1:{subject.port}/export/edited", timeout=30)
    forged = _FORGED in answer.content and _SECRET not in answer.content
    told = "exported as if nothing happened" if answer.is_success and forged else "noticed"
    return f"{changed} values changed; {told} ({answer.status_code})"


def _edit(file: Path) -> int:
    """Put one word for another wherever it stands; of what is sealed change a byte."""
    with closing(sqlite3.connect(file)) as database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type='trigger'")
        for (name,) in triggers.fetchall():
            if "fts" not in name:
                database.execute(f'DROP TRIGGER "{name}"')
        changed = 0
        for table, column in list(_columns(database)):
            changed += database.execute(
                f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '
                f'WHERE typeof("{column}") = \'text\' AND instr("{column}", ?)',
                (_SECRET.decode(), _FORGED.decode(), _SECRET.decode()),
            ).rowcount
            if (table, column) == ("payloads", "data"):
                changed += database.execute(
                    "UPDATE payloads SET data = "
                    "CAST(substr(data, 1, length(data) - 1) || x'00' AS BLOB) "
                    "WHERE part = 'response'"
                ).rowcount
        database.commit()
    return changed


def _columns(database: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    tables = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'"
    ).fetchall()
    for (table,) in tables:
        if "fts" not in table:
            for row in database.execute(f'PRAGMA table_info("{table}")').fetchall():
                yield table, row[1]


def _verify(subject: Subject, folder: Path) -> str:
    data, archive, policy = folder / "data", folder / "calls.zip", folder / "trust.policy"
    token = service.command("token", "create", "probe", "--role", "admin", "--data", str(data))
    named = {"LEDGERGRID_URL": f"http://127.0.0.1:{subject.port}", "LEDGERGRID_TOKEN": token}
    policy.write_text(service.command("ledger", "show", "calls", "--trust-policy", **named) + "\n")
    try:
        service.command("export", "--ledger", "calls", "--out", str(archive), **named)
    except SystemExit as error:
        return f"the service gives out no archive: {str(error)[-80:]}"
    code, report = check_offline(archive, policy)
    verdict = next(x for x in report.splitlines() if "VERIFIED" in x)
    return f"exit code {code}: {verdict}"


PROBES: Final = {
    "killed while the provider thinks": killed_waiting,
    "killed while it streams": killed_streaming,
    "paths of other kinds and spellings": by_other_paths,
    f"{PARALLEL} calls at once, budget of one": overspent,
    "the database edited": edited,
}


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="ledgergrid-probes-"))
    try:
        exchanges = write_exchanges(folder / "exchanges.jsonl")
        for what, probe in PROBES.items():
            print(f"\n{what}")
            for name, start in TOOLS.items():
                place = folder / f"{probe.__name__}-{name}"
                place.mkdir()
                print(f"  {name:<16} {probe(start, exchanges, place)}", flush=True)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
