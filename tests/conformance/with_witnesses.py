"""Let foreign witnesses cosign a growing log of ours, and foreign code examine our own witness.

    python -m tests.conformance.with_witnesses sqlite|postgresql TOOLS

TOOLS is the folder with ``litewitness``, ``sigsum-witness``, ``checklog`` and ``checkwitness``. A
log that is named by its key is served, and asks three witnesses: litewitness, sigsum-witness and a
LedgerGrid service. It grows; receipts are judged under policies that ask for two of the witnesses,
both of them; a forked copy of the log, with its keys, is refused by all. Then our witness is asked
by code that has nothing of ours. Nothing is left behind.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.conformance.fill import (
    Filled,
    Place,
    fill,
    grow,
    make_log_key,
    make_own_key,
    serve_witness,
)
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
        key = make_own_key(place)
        filled = fill(place, ENTRIES, key.origin)
        if filled.vkey != key.vkey:
            raise ServiceError("the log does not sign with the key it is named by")
        driver = make_log_key(DRIVER, seed=42)

        ours = stack.enter_context(our_witness(folder, [filled.vkey, driver.vkey]))
        witnesses = [
            stack.enter_context(litewitness(tools, folder, key.origin, filled.vkey)),
            stack.enter_context(sigsum_witness(tools, folder, key.openssh)),
            Asked("ours", ours["vkeys"][0], ours["url"]),
        ]
        policy = write_policy(folder / "policy", filled.vkey, witnesses)
        with log_service(place, filled, ENTRIES, policy):
            witnessed = [let_grow(place, filled, step) for step in STEPS]
            print(f"cosigned by all while it grew: {witnessed}", flush=True)
            for pair in itertools.combinations(witnesses, 2):
                print(f"receipts, 2 of 2: {' and '.join(each.name for each in pair)}", flush=True)
                judged = write_policy(folder / "judged", filled.vkey, pair)
                judge_receipts(tools, place, filled, judged)
        refuse_fork(folder, place, key.origin, policy, witnessed[-1])
        return examine_our_witness(tools, ours, driver.skey, driver.vkey)


@dataclass(frozen=True)
class Asked:
    """A witness: what a policy calls it, its key and where it is."""

    name: str
    vkey: str
    url: str


def write_policy(file: Path, vkey: str, witnesses: Sequence[Asked]) -> Path:
    """Write a policy that asks for all of these witnesses."""
    names = " ".join(each.name for each in witnesses)
    lines = [f"log {vkey}", *(f"witness {w.name} {w.vkey} {w.url}" for w in witnesses)]
    file.write_text("\n".join([*lines, f"group all-of-them all {names}", "quorum all-of-them", ""]))
    return file


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
    """Append entries behind the service's back, and wait until all witnesses have cosigned."""
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
    filled = fill(forked, witnessed + 100, origin)
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
def litewitness(tools: Path, folder: Path, origin: str, vkey: str) -> Iterator[Asked]:
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
        yield Asked("lite", found[1], f"http://127.0.0.1:{port}")


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
def sigsum_witness(tools: Path, folder: Path, log_key: str) -> Iterator[Asked]:
    """Run Sigsum's witness for the one log that it cosigns, named by its key."""
    key, log_file, log = folder / "sigsum.key", folder / "log.pub", folder / "sigsum.log"
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(keygen, check=True)
    log_file.write_text(f"{log_key}\n")
    port = free_port()
    command = [str(tools / "sigsum-witness"), "-k", str(key), "--log-key", str(log_file)]
    command += ["--state-file", str(folder / "sigsum.state"), f"127.0.0.1:{port}"]
    # Debian builds 0.11.2 without its go.mod, so it routes as Go 1.21 did and finds no path; this
    # says what the module says, and nothing to other builds.
    environment = {**os.environ, "GODEBUG": "httpmuxgo121=0"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            wait_until(lambda: listens(port), f"sigsum-witness ({log.read_text()[-500:]})")
            public = base64.b64decode(Path(f"{key}.pub").read_text().split()[1])[-32:]
            yield Asked("sigsum", make_sigsum_vkey(public), f"http://127.0.0.1:{port}")
        finally:
            stop(process)


def make_sigsum_vkey(public: bytes) -> str:
    """Spell a sigsum-witness's key; it says it nowhere."""
    name = f"sigsum.org/v1/witness/{hashlib.sha256(public).hexdigest()}"
    key = b"\x04" + public
    key_id = hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(key).decode()}"


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


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
