"""Three services over HTTP: a log, and two witnesses that cosign it, up to the offline verdict."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from api.examination import examine
from api.settings import Settings
from ledger_core.formats.note import parse_note, verify_note
from ledger_core.formats.receipt import parse_receipt
from ledger_core.formats.trust_policy import parse_trust_policy, verify_trusted
from ledger_core.formats.vkey import LogKey, format_vkey
from ledger_core.formats.witness import origin_digest
from ledger_core.keyring import open_keyring
from tests.api.live import ROUTE, Live, running
from tests.docs.pages import ROOT

PREFIX = "log.example"
NAMES = ("witness.example/a", "witness.example/b")
PATIENCE_S = 20


@dataclass(frozen=True)
class Trio:
    """A log with a ledger ``main``, its witnesses, and the policy of whoever trusts all three."""

    log: Live
    witnesses: tuple[Live, ...]
    services: tuple[ExitStack, ...]
    """Closing one stops the witness."""
    trust: Path


def policy_lines(witnesses: list[Live]) -> str:
    """Each witness has two keys and one address; it counts if both of them signed."""
    lines: list[str] = []
    for name, live in zip("ab", witnesses, strict=True):
        info = httpx.get(f"{live.url}/api/v1/witness").json()
        for kind, vkey in zip(("ed", "pq"), info["vkeys"], strict=True):
            lines.append(f"witness {name}-{kind} {vkey} {info['submission_prefix']}")
        lines.append(f"group {name} all {name}-ed {name}-pq")
    return "\n".join([*lines, "group both all a b", "quorum both", ""])


@contextmanager
def witness_service(folder: Path, name: str, log: LogKey) -> Iterator[Live]:
    folder.mkdir()
    (folder / "logs").write_text(f"logs/v0\nvkey {format_vkey(log)}\n")
    chosen = Settings(data=folder / "data", witness_name=name, witness_logs=str(folder / "logs"))
    with running(chosen) as live:
        yield live


@pytest.fixture
def trio(tmp_path: Path, database_url: str) -> Iterator[Trio]:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    log_key = open_keyring(data / "keyring").log_signer(f"{PREFIX}/main").public
    with ExitStack() as stack:
        services = [stack.enter_context(ExitStack()) for _ in NAMES]
        witnesses = [
            service.enter_context(witness_service(tmp_path / str(n), name, log_key))
            for n, (service, name) in enumerate(zip(services, NAMES, strict=True))
        ]
        asked, trust = tmp_path / "asked", tmp_path / "trust"
        asked.write_text(policy_lines(witnesses))
        trust.write_text(f"log {format_vkey(log_key)}\n{asked.read_text()}")
        chosen = Settings(
            data=data,
            database=SecretStr(database_url),
            origin_prefix=PREFIX,
            witness_policy=str(asked),
            witness_interval_s=0.1,
            witness_late_s=1,
        )
        log = stack.enter_context(running(chosen))
        assert log.main.log_key == log_key
        yield Trio(log, tuple(witnesses), tuple(services), trust)


def wait_until_witnessed(http: httpx.Client) -> dict[str, object]:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        status: dict[str, object] = http.get(f"{ROUTE}/main/witnesses").json()
        if status["witnessed"] == status["size"]:
            return status
        time.sleep(0.05)
    raise AssertionError(http.get(f"{ROUTE}/main/witnesses").json())


def verify(archive: Path, trust: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "verifier", str(archive), "--trust", str(trust), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_two_witnesses_of_ours_carry_a_ledger_to_the_second_level(
    trio: Trio, tmp_path: Path
) -> None:
    log = trio.log
    author = log.author()
    policy = parse_trust_policy(trio.trust.read_bytes())
    with log.http("admin") as http:
        posted = http.post(f"{ROUTE}/main/records", content=author.line())
        assert posted.status_code == 201
        index, receipt = posted.json()["index"], posted.json()["receipt"].encode()
        status = wait_until_witnessed(http)
        assert status["not_witnessed_since"] is None

        note = http.get("/log/main/checkpoint").content
        assert verify_trusted(note, policy).quorum_met
        fetched = http.get(f"{ROUTE}/main/entries/{index}/receipt").content
        trusted = verify_trusted(parse_receipt(fetched).checkpoint, policy)
        assert trusted.quorum_met and len(trusted.witnesses) == 4
        assert not verify_trusted(parse_receipt(receipt).checkpoint, policy).quorum_met
        for path in ("/log/main/checkpoint", f"{ROUTE}/main/checkpoint"):
            newest = http.get(path, params={"witnessed": "true"}).content
            assert verify_trusted(newest, policy).quorum_met

        archive = tmp_path / "archive.zip"
        archive.write_bytes(http.get(f"{ROUTE}/main/archive").content)
    done = verify(archive, trio.trust, "--require", "L2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "L2" in done.stdout
    # The witnesses show what they cosigned, for anyone to compare.
    digest = origin_digest(f"{PREFIX}/main")
    for live in trio.witnesses:
        shown = httpx.get(f"{live.url}/witness/{digest}/checkpoint").content
        assert verify_note(parse_note(shown), [log.main.log_key])


def test_with_a_witness_down_appends_go_on_and_it_shows(trio: Trio, tmp_path: Path) -> None:
    log = trio.log
    author = log.author()
    with log.http("admin") as http:
        wait_until_witnessed(http)
        trio.services[1].close()
        assert http.post(f"{ROUTE}/main/records", content=author.line()).status_code == 201
        end_s = time.monotonic() + PATIENCE_S
        while http.get(f"{ROUTE}/main/witnesses").json()["not_witnessed_since"] is None:
            assert time.monotonic() < end_s
            time.sleep(0.1)
        status = http.get(f"{ROUTE}/main/witnesses").json()
        assert status["witnessed"] == status["size"] - 1
        states = {each["name"]: each for each in status["witnesses"]}
        assert states["a-ed"]["error"] is None
        assert "Connect" in states["b-ed"]["error"] and states["b-ed"]["error_since"]
        metrics = http.get("/metrics").text
        assert (
            f'ledgergrid_ledger_witnessed_entries{{ledger="main"}} {status["witnessed"]}' in metrics
        )
        (late,) = [
            line for line in metrics.splitlines() if line.startswith("ledgergrid_ledger_not_w")
        ]
        assert float(late.rpartition(" ")[2]) >= 1
        # An archive of what is witnessed still reaches the second level, the rest the first.
        path = f"{ROUTE}/main/archive"
        whole, part = tmp_path / "whole.zip", tmp_path / "part.zip"
        whole.write_bytes(http.get(path).content)
        part.write_bytes(http.get(path, params={"end": status["witnessed"]}).content)
    assert verify(part, trio.trust, "--require", "L2").returncode == 0
    assert verify(whole, trio.trust, "--require", "L1").returncode == 0
    assert verify(whole, trio.trust, "--require", "L2").returncode == 2
    troubles = dict(examine(log.service.settings, 100))
    assert "main is not witnessed since" in troubles["witnesses keep up"]
