"""``ledgergrid keyring``: a log's own key is made, kept and used, and never shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.settings import Settings
from ledger_core.errors import LedgerGridError, MalformedError, SettingsError
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.vkey import LogKey, format_skey, parse_vkey
from ledger_core.keyring import open_keyring
from tests.api.live import running
from tests.vectors.notes import PETER, PETER_PRIVATE, SIGSUM_ORIGIN, SIGSUM_PRIVATE, SIGSUM_VKEY
from tests.vectors.post_quantum import PQ_WITNESS


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["keyring", *map(str, arguments)])


def ok(*arguments: object) -> dict[str, str]:
    """Run a command; return what it says, by the first word or two of each line."""
    done = run(*arguments)
    assert done.exit_code == 0, done.exception
    return {line[:9].strip(): line[9:] for line in done.output.splitlines()}


def refused(kind: type[LedgerGridError], *arguments: object) -> str:
    done = run(*arguments)
    assert isinstance(done.exception, kind)
    assert done.output == ""
    return str(done.exception)


def test_a_key_is_made_with_the_origin_that_names_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    said = ok("add", "--sigsum", "--data", data)
    key = parse_vkey(said["log key"])
    assert isinstance(key, LogKey)
    assert said["origin"] == key.name
    assert key.name.startswith("sigsum.org/v1/tree/")
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "keyring").stat().st_mode) == 0o600
    assert open_keyring(data / "keyring").log_signer(key.name).public == key


def test_keys_are_listed_by_their_public_halves_and_no_command_shows_the_other(
    tmp_path: Path,
) -> None:
    done = [
        run("add", "--origin", "log.example.org/a", "--data", tmp_path),
        run("add", "--sigsum", "--data", tmp_path),
        run("list", "--data", tmp_path),
    ]
    assert done[2].output.count("origin ") == 2
    for line in (tmp_path / "keyring").read_text().splitlines():
        secret = line.split("+", 4)[-1] if line.startswith("PRIVATE") else line
        assert len(secret) >= 44
        assert all(secret[:16] not in each.output for each in done)


def test_a_key_made_elsewhere_is_taken_over_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(f"{SIGSUM_PRIVATE}\n")
    said = ok("add", "--from", file, "--data", tmp_path / "data")
    assert (said["origin"], said["log key"]) == (SIGSUM_ORIGIN, SIGSUM_VKEY)
    # As OpenSSH spells the same key, which is how Sigsum's programs read it.
    assert said["openssh"] == (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGbguFjkYqYJ5m/nE3DIFtiEb/ED1UmaIqf+w3/bxCSn"
    )
    assert "holds a key for" in refused(
        SettingsError, "add", "--from", file, "--data", tmp_path / "data"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        PETER,
        PETER_PRIVATE.replace("c74f", "c74e"),
        f"{PETER_PRIVATE}\n{SIGSUM_PRIVATE}\n",
        format_skey(PQ_WITNESS),
        f"{PETER_PRIVATE}\n\n",
    ],
)
def test_a_file_that_holds_no_logs_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(text)
    said = refused(MalformedError, "add", "--from", file, "--data", tmp_path / "data")
    assert not text or text.split("+", 4)[-1][:12] not in said
    assert not (tmp_path / "data").exists()


def test_a_key_that_others_can_read_is_not_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{PETER_PRIVATE}\n")
    file.chmod(0o644)
    assert "chmod 600" in refused(SettingsError, "add", "--from", file, "--data", tmp_path)


@pytest.mark.parametrize("chosen", [(), ("--sigsum", "--origin", "log.example.org/a")])
def test_a_key_is_for_one_log(tmp_path: Path, chosen: tuple[str, ...]) -> None:
    said = refused(SettingsError, "add", *chosen, "--data", tmp_path)
    assert said == "give one of --origin, --sigsum and --from"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("origin", ["", "two words", "a+b", SIGSUM_ORIGIN])
def test_an_origin_that_this_key_cannot_have_is_refused(tmp_path: Path, origin: str) -> None:
    refused(MalformedError, "add", "--origin", origin, "--data", tmp_path / "data")


def test_a_mistyped_folder_is_told_from_a_keyring_without_such_keys(tmp_path: Path) -> None:
    assert "name the service's folder" in refused(
        SettingsError, "list", "--data", tmp_path / "elsewhere"
    )
    open_keyring(tmp_path / "keyring")
    assert ok("list", "--data", tmp_path) == {}


def test_a_ledger_of_that_origin_is_signed_by_that_key(tmp_path: Path) -> None:
    said = ok("add", "--sigsum", "--data", tmp_path)
    with running(Settings(data=tmp_path)) as live, live.http("admin") as http:
        new = {"name": "shown", "kind": "public", "origin": said["origin"]}
        assert http.post("/api/v1/ledgers", json=new).json()["log_key"] == said["log key"]
        checkpoint = http.get("/log/shown/checkpoint").content
        refused = http.post("/api/v1/ledgers/shown/log-key", json={})
    key = parse_vkey(said["log key"])
    assert isinstance(key, LogKey)
    assert verify_checkpoint(checkpoint, key).size == 1
    assert refused.status_code == 422
    assert "names another key than it has" in refused.json()["detail"]
