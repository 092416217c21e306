"""``ledgergrid backup``, ``restore`` and ``epoch``: from a lost disk to a ledger that goes on."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.serving import sole_service
from api.settings import Settings
from ledger_core.errors import LedgerGridError, NotFoundError, SettingsError, StandingError
from ledger_core.formats.vkey import format_vkey
from ledgergrid import Signer
from tests.api.live import ROUTE, running


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def ok(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def refused(kind: type[LedgerGridError], *arguments: object) -> str:
    done = run(*arguments)
    assert isinstance(done.exception, kind), (done.output, done.exception)
    return str(done.exception)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a service's folder, after its disk was lost and a backup was restored."""
    data = tmp_path / "data"
    with running(Settings(data=data)) as live:
        origin = live.main.origin
        said = ok("backup", tmp_path / "backup", "--data", data)
        assert "every ledger's root" in said
        live.main.append_as_operator("note/1", b'"lost"')
        assert live.main.checkpoint().decode().startswith(origin)
    for file in data.glob("ledger*.db*"):
        file.unlink()
    done = run("restore", tmp_path / "backup", "--data", data)
    assert done.exit_code == 1
    assert "main  1 entries were signed after this" in done.output
    assert "ledgergrid epoch state LEDGER FILE" in done.output
    return data


def test_from_a_lost_disk_to_a_ledger_that_goes_on(data: Path, tmp_path: Path) -> None:
    file, signature = tmp_path / "statement.json", tmp_path / "operator.sig"
    said = ok("epoch", "state", "main", file, "--reason", "disk lost", "--data", data)
    assert "LOST     entries 1 to 1 of" in said
    assert "/epoch/2" in said
    shown = ok("epoch", "sign", file, "--operator", "--data", data, "--yes", "--out", signature)
    assert shown.index("LOST") < shown.index("signed by")
    said = ok("epoch", "open", "main", file, signature, "--data", data)
    assert "from entry 1" in said
    assert "FAIL" not in ok("doctor", "--data", data)
    with running(Settings(data=data)) as live:
        assert live.main.origin.endswith("/epoch/2")
        assert live.main.append_as_operator("note/1", b'"goes on"').index == 2
        with live.http() as http:
            assert http.get("/readyz").status_code == 200


def test_nobody_signs_what_they_were_not_shown(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "statement.json"
    ok("epoch", "state", "main", file, "--reason", "disk lost", "--data", data)
    done = CliRunner().invoke(
        app, ["epoch", "sign", str(file), "--operator", "--data", str(data)], input="n\n"
    )
    assert done.exit_code == 1
    assert "LOST" in done.output
    assert list(tmp_path.glob("*.sig")) == []
    assert "--key KEY" in refused(SettingsError, "epoch", "sign", file)


def test_a_key_that_decides_nothing_opens_nothing(data: Path, tmp_path: Path) -> None:
    file, key = tmp_path / "statement.json", tmp_path / "agent.key"
    ok("epoch", "state", "main", file, "--reason", "disk lost", "--data", data)
    ok("keygen", "--out", key)
    ok("epoch", "sign", file, "--key", key, "--yes", "--out", tmp_path / "sig")
    said = refused(StandingError, "epoch", "open", "main", file, tmp_path / "sig", "--data", data)
    assert "no operator" in said
    assert "is there already" in refused(
        SettingsError, "epoch", "state", "main", file, "--reason", "again", "--data", data
    )


def test_no_epoch_is_opened_under_a_service_that_runs(data: Path, tmp_path: Path) -> None:
    with sole_service(data / "ledger.db"):
        said = refused(
            SettingsError,
            *("epoch", "state", "main", tmp_path / "s", "--reason", "x", "--data", data),
        )
    assert "stop it first" in said


def test_there_is_nothing_to_state_where_nothing_was_lost(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(Settings(data=data)) as live:
        live.main.checkpoint()
    said = refused(
        StandingError, *("epoch", "state", "main", tmp_path / "s", "--reason", "x", "--data", data)
    )
    assert "nothing to agree to" in said


def test_a_restore_without_the_signers_memory_says_what_is_missing(
    data: Path, tmp_path: Path
) -> None:
    for file in [*data.glob("ledger*.db*"), *data.glob("signer.db*")]:
        file.unlink()
    done = run("restore", tmp_path / "backup", "--data", data)
    assert done.exit_code == 1
    assert "There is no signer's memory" in done.output
    assert list(data.glob("signer.db")) == []


def test_a_backup_of_nothing_is_none(tmp_path: Path) -> None:
    said = refused(NotFoundError, "backup", tmp_path / "b", "--data", tmp_path / "nowhere")
    assert "there is no database" in said
    assert not (tmp_path / "b").exists()
    assert "is no backup" in refused(SettingsError, "restore", tmp_path, "--data", tmp_path / "d")


def test_what_an_archive_kept_is_sent_again_after_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, kept, key = tmp_path / "data", tmp_path / "kept.zip", tmp_path / "agent.key"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEDGERGRID_TOKEN", "")
    agent = Signer.make()
    agent.save(key)
    with running(Settings(data=data)) as live:
        ok("backup", tmp_path / "backup", "--data", data)
        origin = live.main.origin
        register = {"key": agent.key, "roles": ["agent"]}
        register["possession"] = agent.prove_possession(origin)
        with live.http("admin") as http:
            http.post(f"{ROUTE}/main/keys", json=register).raise_for_status()
        monkeypatch.setenv("LEDGERGRID_TOKEN", live.tokens["reader"])
        for number in range(3):
            add = ("--type", "note/1", "--signer", key, "--data", str(number), "--url", live.url)
            ok("append", *add)
        kept.write_bytes(b"".join(live.main.export(0, None, "auditor")))
    for file in data.glob("ledger*.db*"):
        file.unlink()
    run("restore", tmp_path / "backup", "--data", data)
    file, signature = tmp_path / "statement.json", tmp_path / "sig"
    ok("epoch", "state", "main", file, "--reason", "disk lost", "--data", data)
    ok("epoch", "sign", file, "--operator", "--data", data, "--yes", "--out", signature)
    ok("epoch", "open", "main", file, signature, "--data", data)
    with running(Settings(data=data)) as live:
        monkeypatch.setenv("LEDGERGRID_TOKEN", live.tokens["reader"])
        said = ok("resubmit", kept, "--signer", key, "--url", live.url)
        # The key's registration, three notes and the export that lost its entry.
        assert said.split() == ["5", "in", "the", "ledger"]
        assert live.main.size() == 7
        assert ok("resubmit", kept, "--signer", key, "--url", live.url) == said
        assert live.main.size() == 7


def test_an_epoch_is_shown_to_whoever_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, key = tmp_path / "data", tmp_path / "agent.key"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    ok("keygen", "--out", key)
    with running(Settings(data=data)) as live:
        ok("backup", tmp_path / "backup", "--data", data)
        live.main.append_as_operator("note/1", b'"lost"')
        first_key = format_vkey(live.main.log_key)
    for file in data.glob("ledger*.db*"):
        file.unlink()
    run("restore", tmp_path / "backup", "--data", data)
    file, signature = tmp_path / "statement.json", tmp_path / "sig"
    ok("epoch", "state", "main", file, "--reason", "disk lost", "--data", data)
    ok("epoch", "sign", file, "--operator", "--data", data, "--yes", "--out", signature)
    ok("epoch", "open", "main", file, signature, "--data", data)
    with running(Settings(data=data)) as live:
        monkeypatch.setenv("LEDGERGRID_TOKEN", live.tokens["reader"])
        address = quote(live.url.partition("://")[2], safe="")
        folder = tmp_path / "home" / "ledgergrid" / address / "main"
        folder.mkdir(parents=True, mode=0o700)
        (folder / "log.vkey").write_text(f"{first_key}\n")
        origin = live.main.origin
        follow = ("epoch", "follow", origin, "--signer", key, "--url", live.url)
        done = CliRunner().invoke(app, list(map(str, follow)), input="n\n")
        assert done.exit_code == 1
        assert "LOST     entries 1 to 1" in done.output
        said = ok(*follow, "--yes")
        assert "reason   disk lost" in said
        assert f"is followed as {origin}" in said
