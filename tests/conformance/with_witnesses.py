"""Let foreign witnesses cosign a growing log of ours, and foreign code examine our own witness.

    python -m tests.conformance.with_witnesses sqlite|postgresql TOOLS

TOOLS is the folder with ``litewitness``, ``checklog`` and ``checkwitness``. A log is served that
asks two witnesses: litewitness, and a LedgerGrid service. It grows; receipts with both
cosignatures are judged under a policy that asks for both; a forked copy of the log, with its keys,
is refused by both. Then our witness is asked by code that has nothing of ours. Nothing is left
behind.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from tests.conformance.fill import Filled, Place, fill, grow, make_log_key, serve_witness
from tests.conformance.with_service import (
    ServiceError,
    address,
    database,
    fetch,
    free_port,
    service,
    stop,
)

ENTRIES: Final = 2_000
STEPS: Final = (1, 2, 61, 500, 1_000)
PATIENCE_S: Final = 60
DRIVER: Final = "driver.conformance.example/log"
"""The log with which ``checkwitness`` asks our witness."""


def main(store: str, tools: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="ledgergrid-witnesses-") as name, ExitStack() as stack:
        folder = Path(name)
        url = stack.enter_context(database(store, folder))
        place = Place(url, folder / "log", free_port())
        place.folder.mkdir(mode=0o700)
        filled = fill(place, ENTRIES)
        origin = filled.vkey.split("+", 1)[0]
        driver = make_log_key(DRIVER, seed=42)

        lite = stack.enter_context(litewitness(tools, folder, origin, filled.vkey))
        ours = stack.enter_context(our_witness(folder, [filled.vkey, driver.vkey]))
        policy = folder / "policy"
        policy.write_text(
            f"log {filled.vkey}\n"
            f"witness lite {lite['vkey']} {lite['url']}\n"
            f"witness ours {ours['vkeys'][0]} {ours['url']}\n"
            "group both all lite ours\nquorum both\n"
        )
        with log_service(place, filled, ENTRIES, policy):
            witnessed = [let_grow(place, filled, step) for step in STEPS]
            print(f"cosigned by both while it grew: {witnessed}", flush=True)
            judge_receipts(tools, place, filled, policy)
        refuse_fork(folder, place, origin, policy, witnessed[-1])
        return examine_our_witness(tools, ours, driver.skey, driver.vkey)


# --- our log -------------------------------------------------------------------------


@contextmanager
def log_service(place: Place, filled: Filled, size: int, policy: Path) -> Iterator[None]:
    chosen = {
        "LEDGERGRID_WITNESS_POLICY": str(policy),
        "LEDGERGRID_WITNESS_INTERVAL_S": "0.2",
    }
    environment = {**filled.environment, **chosen}
    asking = Filled(
        vkey=filled.vkey,
        log_path=filled.log_path,
        api_path=filled.api_path,
        command=filled.command,
        environment=environment,
    )
    with service(place, asking, size):
        yield


def let_grow(place: Place, filled: Filled, more: int) -> int:
    """Append entries behind the service's back, and wait until both witnesses have cosigned."""
    size = grow(place, more)
    status = wait_for(place, filled, lambda s: s["witnessed"] == size)
    return int(status["witnessed"])


def wait_for(
    place: Place, filled: Filled, holds: Callable[[Mapping[str, Any]], bool]
) -> Mapping[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        status: Mapping[str, Any] = json.loads(
            fetch(address(place, filled.api_path) + "/witnesses", filled.token)
        )
        if holds(status):
            return status
        if time.monotonic() > deadline:
            raise ServiceError(f"the witnesses do not do as they should: {status}")
        time.sleep(0.1)


def judge_receipts(tools: Path, place: Place, filled: Filled, policy: Path) -> None:
    command = [str(tools / "checklog"), "-log", address(place, filled.log_path)]
    command += ["-api", address(place, filled.api_path), "-vkey", filled.vkey]
    subprocess.run([*command, "-witnesses", str(policy), "-samples", "20"], check=True)


def refuse_fork(folder: Path, place: Place, origin: str, policy: Path, witnessed: int) -> None:
    """Make another log of the same origin and keys, larger than what was cosigned; ask again."""
    copy = folder / "fork"
    copy.mkdir(mode=0o700)
    (copy / "keyring").write_bytes((place.folder / "keyring").read_bytes())
    (copy / "keyring").chmod(0o600)
    forked = Place(f"sqlite:///{copy / 'ledger.db'}", copy, free_port())
    filled = fill(forked, witnessed + 100)
    if filled.vkey.split("+", 1)[0] != origin:
        raise ServiceError("the copy is no fork: it has another origin")
    with log_service(forked, filled, witnessed + 100, policy):
        refused = wait_for(
            forked, filled, lambda s: all("422" in (w["error"] or "") for w in s["witnesses"])
        )
    if refused["witnessed"] != 0:
        raise ServiceError(f"a fork was cosigned: {refused}")
    for each in refused["witnesses"]:
        print(f"a forked copy is refused by {each['name']}: {each['error'][:90]}", flush=True)


# --- the witnesses ---------------------------------------------------------------------


@contextmanager
def litewitness(tools: Path, folder: Path, origin: str, vkey: str) -> Iterator[Mapping[str, str]]:
    """Run Filippo Valsorda's litewitness, with its key in an ssh-agent as it wants it."""
    key, socket, file = folder / "lite.key", folder / "agent", folder / "lite.db"
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(keygen, check=True)
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(key)], check=True, capture_output=True, text=True
    ).stdout
    port = free_port()
    log = folder / "lite.log"
    with ExitStack() as stack:
        agent = subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(socket)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(stop, agent)
        wait_until(socket.exists, "ssh-agent")
        subprocess.run(
            ["ssh-add", "-q", str(key)],
            check=True,
            env={**os.environ, "SSH_AUTH_SOCK": str(socket)},
        )
        command = [str(tools / "litewitness"), "-name", "lite.conformance.example"]
        command += ["-db", str(file), "-ssh-agent", str(socket), "-listen", f"127.0.0.1:{port}"]
        output = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            [*command, "-key", shown.split()[1]], stdout=output, stderr=subprocess.STDOUT
        )
        stack.callback(stop, process)
        wait_until(lambda: "listening" in log.read_text(), "litewitness")
        list_log(file, origin, vkey)
        found = re.search(r"vkey=(\S+)", log.read_text())
        if found is None:
            raise ServiceError(f"litewitness says no vkey: {log.read_text()}")
        yield {"vkey": found[1], "url": f"http://127.0.0.1:{port}"}


def list_log(file: Path, origin: str, vkey: str) -> None:
    """Tell litewitness of a log, as its witnessctl does (which needs modules of sigsum's)."""
    empty = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    with sqlite3.connect(file) as connection:
        connection.execute(
            "INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", (origin, empty)
        )
        connection.execute("INSERT INTO key (origin, key) VALUES (?, ?)", (origin, vkey))
    connection.close()


@contextmanager
def our_witness(folder: Path, logs: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Run a LedgerGrid service as a witness of these logs."""
    listed = folder / "logs"
    listed.write_text("\n".join(["logs/v0", *(f"vkey {vkey}" for vkey in logs), ""]))
    place = Place("", folder / "witness", free_port())
    command, environment = serve_witness(place, "ours.conformance.example", listed)
    with (folder / "witness.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            about = address(place, "/api/v1/witness")
            wait_until(lambda: answers(about), "our witness")
            info: dict[str, Any] = json.loads(fetch(about, ""))
            yield {**info, "url": address(place, "/witness")}
        finally:
            stop(process)


def answers(url: str) -> bool:
    try:
        fetch(url, "")
    except OSError:  # Nobody listens yet.
        return False
    return True


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise ServiceError(f"{what} did not start")
        time.sleep(0.05)


def examine_our_witness(tools: Path, ours: Mapping[str, Any], skey: str, vkey: str) -> int:
    command = [str(tools / "checkwitness"), "-url", ours["url"], "-monitoring", ours["url"]]
    command += ["-log-key", skey, "-log-vkey", vkey]
    command += ["-ed25519", ours["vkeys"][0], "-mldsa", ours["vkeys"][1]]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        sys.exit(main(sys.argv[1], Path(sys.argv[2])))
    except (ServiceError, subprocess.CalledProcessError) as failure:
        sys.exit(f"with_witnesses: {failure}")
