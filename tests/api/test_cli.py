"""The command line, as a person or a script meets it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ledger_core.formats.receipt import parse_receipt
from ledger_core.policy.anchoring import parse_anchored
from tests.support import forking

COMMAND = (sys.executable, "-m", "api.cli")


@dataclass
class Shell:
    """A folder to run commands in, with the variables they see."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return forking.run(
            ["-m", "api.cli", *arguments], cwd=self.folder, env=self.environment, stdin=stdin
        )

    def ok(self, *arguments: str, stdin: str = "") -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """Run a command that fails with one line."""
        done = self.run(*arguments)
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert done.stderr.startswith("ledgergrid: ")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    keep = {k: v for k, v in os.environ.items() if not k.startswith("LEDGERGRID_")}
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "state")}
    return Shell(tmp_path, {**keep, **home, "PYTHONPATH": forking.PATHS})


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture
def served(shell: Shell, request: pytest.FixtureRequest) -> Iterator[Shell]:
    """Serve a fresh data folder in a process of its own, or in several."""
    port = free_port()
    workers = str(getattr(request, "param", 1))
    out = shell.folder / "serve.out"
    with out.open("wb") as file:
        process = forking.start(
            ["-m", "api.cli", "serve", "--data", "d", "--port", str(port), "--workers", workers],
            cwd=shell.folder, env=shell.environment, stdout=file, stderr=file,
        )  # fmt: skip
    shell.environment["LEDGERGRID_URL"] = url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process, out)
        token = re.search(r"lgt_\S+", out.read_text())
        assert token, out.read_text()
        shell.environment["LEDGERGRID_TOKEN"] = token[0]
        yield shell
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM), out.read_text()


def wait_for(url: str, process: forking.Process, out: Path) -> None:
    give_up_at = time.monotonic() + 40
    while time.monotonic() < give_up_at:
        assert process.poll() is None, out.read_text()
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"not ready: {out.read_text()}")


def test_from_a_fresh_service_to_a_verified_archive(served: Shell) -> None:
    key = served.ok("keygen", "--out", "agent.key", "--name", "scout")
    assert "ed25519:" in key
    assert (served.folder / "agent.key").stat().st_mode & 0o777 == 0o600
    assert "may now write to main (entry 1)" in served.ok("key", "register", "agent.key")
    note = ("append", "--type", "note/1", "--signer", "agent.key")
    first = json.loads(served.ok(*note, "--data", '{"n":1}', "--receipt", "r.txt"))
    second = json.loads(served.ok(*note, "--file", "-", stdin='{"n":2}'))
    assert (first["index"], second["index"]) == (2, 3)
    assert parse_receipt((served.folder / "r.txt").read_bytes()).index == 2
    assert served.ok("receipt", "2") == (served.folder / "r.txt").read_text()
    assert "Verify it" in served.ok("export", "--out", "a.zip")
    assert "Entries  0 to 4 of 5" in served.ok("verify", "a.zip")
    assert "FAIL" not in served.ok("doctor", "--data", "d")
    assert "may no longer write" in served.ok("key", "revoke", "agent.key", "--reason", "lost")
    assert "revoked" in served.refused(*note, "--data", "3")


@pytest.mark.parametrize("served", [2], indirect=True, ids=["two-workers"])
def test_a_local_ledger_is_closed_anchored_and_proved_and_the_logs_key_handed_over(
    served: Shell,
) -> None:
    said = served.ok("keygen", "--out", "party.key", "--name", "party")
    party = re.search(r"ed25519:\S+", said)
    assert party
    founding = {"keys": [{"key": party[0], "roles": ["agent"]}], "parties": [party[0]]}
    (served.folder / "founding.json").write_text(json.dumps(founding))
    local = ("--kind", "local", "--parent", "main", "--founding", "founding.json")
    served.ok("ledger", "create", "deal", *local)
    assert "not closed" in served.refused("ledger", "anchor", "deal")
    append = ("append", "--signer", "party.key", "--ledger", "deal", "--data", "{}", "--type")
    served.ok(*append, "closing/1")
    assert "closed" in served.refused(*append, "note/1")
    give_up_at = time.monotonic() + 30
    while "entry    1\n" not in served.ok("ledger", "anchor", "deal"):
        assert time.monotonic() < give_up_at
    proof = parse_anchored(served.ok("receipt", "0", "--ledger", "deal", "--anchored").encode())
    assert parse_receipt(proof.parent).index == 1
    assert "Entries  0 to 1 of 2" in served.ok("export", "--ledger", "deal", "--out", "d.zip") + (
        served.ok("verify", "d.zip")
    )
    before = served.ok("ledger", "show", "main")
    assert "since entry 2" in served.ok("ledger", "rotate-key", "main")
    assert served.ok("ledger", "show", "main") != before


def test_a_second_service_on_the_same_file_is_refused(served: Shell) -> None:
    refusal = served.refused("serve", "--data", "d", "--port", str(free_port()))
    assert "another `ledgergrid serve`" in refusal
    assert "--workers" in refusal


def test_a_token_is_shown_once_and_counts_until_it_is_revoked(served: Shell) -> None:
    reader = served.ok("token", "create", "ann", "--ledger", "main", "--data", "d").strip()
    assert "ann\treader\tmain\t" in served.ok("token", "list", "--data", "d")
    assert reader not in served.ok("token", "list", "--data", "d")
    assert "charter" in served.ok("ledger", "create", "orders", "--kind", "public")
    (served.folder / "token").write_text(reader + "\n")
    listed = served.ok("ledger", "list", "--token-file", "token").splitlines()
    assert [line.split("\t")[0] for line in listed] == ["main", "orders"]
    assert "role" in served.refused("ledger", "create", "more", "--token-file", "token")
    served.ok("token", "create", "acme", "--member", "acme", "--data", "d")
    assert "acme\treader\t(all ledgers)" in served.ok("token", "list", "--data", "d")
    assert served.ok("token", "list", "--data", "d").splitlines()[0].endswith("\tacme")
    served.ok("token", "revoke", "ann", "--data", "d")
    assert "does not count" in served.refused("ledger", "list", "--token-file", "token")


def test_a_key_is_registered_without_its_file_leaving_home(served: Shell) -> None:
    key = served.ok("keygen", "--out", "far.key")
    public = re.search(r"ed25519:\S+", key)
    assert public
    listed = served.ok("ledger", "list").split("\t")
    proof = served.ok("key", "prove", "far.key", "--origin", listed[3].strip()).split()
    (served.folder / "far.key").unlink()
    assert public[0] in served.ok("key", "register", *proof)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("receipt", "1", "--url", "http://127.0.0.1:1"), "nothing answers"),
        (("receipt", "1", "--url", "nonsense"), "no address like"),
        (("append", "--type", "note/1", "--signer", "none.key", "--data", "1"), "no key at"),
        (("append", "--type", "note/1", "--signer", "none.key"), "--data or --file"),
        (("key", "register"), "give a key file"),
        (("key", "register", "none.key", "--token-file", "none"), "none: No such file"),
        (("token", "create", "x", "--data", "nowhere"), "run `ledgergrid serve` first"),
        (("token", "create", "x", "--role", "king"), "--role is one of"),
        (("token", "create", "x", "--role", "admin", "--member", "acme"), "speaks for no party"),
        (("doctor", "--data", "nowhere"), ""),
        (("serve", "--port", "99999"), "LEDGERGRID_PORT"),
        (("serve", "--database", "mysql://x"), "sqlite:///"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    shell: Shell, arguments: tuple[str, ...], said: str
) -> None:
    if arguments[0] == "doctor":
        done = shell.run(*arguments)
        assert (done.returncode, done.stderr) == (1, "")
        assert "FAIL" in done.stdout
        assert "--data" in done.stdout
    else:
        assert said in shell.refused(*arguments)


def test_wrong_usage_ends_with_2_and_verify_has_its_own_codes(shell: Shell) -> None:
    assert shell.run("append").returncode == 2
    assert shell.run("nonsense").returncode == 2
    assert shell.run("verify", "none.zip").returncode == 4
    assert "ledgergrid-verify" in shell.ok("verify", "--help")


def test_a_key_file_is_never_written_over(shell: Shell) -> None:
    shell.ok("keygen", "--out", "a.key")
    before = (shell.folder / "a.key").read_text()
    assert "never replaced" in shell.refused("keygen", "--out", "a.key")
    assert (shell.folder / "a.key").read_text() == before
