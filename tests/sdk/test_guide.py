"""docs/guide-sdk.md is true: its commands and its code run, in order, against a service."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from api.settings import Settings
from ledgergrid import errors
from ledgergrid.session import Settings as ClientSettings
from tests.api.live import running
from tests.support import forking

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guide-sdk.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_guide_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(Settings(data=tmp_path / "data")) as live:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        monkeypatch.setenv("LEDGERGRID_URL", live.url)
        monkeypatch.setenv("LEDGERGRID_TOKEN", live.tokens["admin"])
        names: dict[str, object] = {}
        for language, code in BLOCKS:
            if language == "sh":
                run_commands(code)
            else:
                run_python(code.replace("http://127.0.0.1:8080", live.url), names)
        assert live.main.size() == 1 + 1 + 1 + 2 + 1000 + 100 + 2
    assert "sha256:" in capsys.readouterr().out


def run_commands(code: str) -> None:
    for line in code.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "ledgergrid"
        done = forking.run(
            ["-m", "api.cli", *arguments],
            cwd=Path.cwd(),
            env={**os.environ, "PYTHONPATH": forking.PATHS},
        )
        assert done.returncode == 0, done.stderr


def run_python(code: str, names: dict[str, object]) -> None:
    exec(compile(code, "docs/guide-sdk.md", "exec"), names)


def test_the_guide_names_every_error_and_every_setting() -> None:
    kinds = [name for name, kind in vars(errors).items() if name.endswith("Error")]
    kinds = [k for k in kinds if k not in {"LedgerGridError", "DistrustError"}]
    assert [kind for kind in kinds if f"`{kind}`" not in GUIDE] == []
    assert [name for name in ClientSettings.__annotations__ if f"`{name}`" not in GUIDE] == []
