"""The verifier where an auditor runs it: no server installed, no network, or nothing installed.

These tests run it as other processes, with an empty environment. They install from the package
registry, as ``make`` does.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

import pytest

from ledger_core import limits
from ledger_core.formats.archive import payloads_name
from tests.docs.pages import ROOT
from tests.support.archives import Log
from verifier import report

PIP: Final = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
TIMEOUT_S: Final = 120

# Forked workers inherit the hook. It runs before Python does anything with a socket.
WITHOUT_SOCKETS: Final = """
import runpy, sys

def refuse(event, arguments):
    if event.startswith("socket."):
        raise PermissionError(f"{event} was tried")

sys.addaudithook(refuse)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
SERVER_PACKAGES: Final = ("fastapi", "sqlalchemy", "httpx", "psycopg", "uvicorn", "pydantic")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a good archive and a tampered one of two segments each, so that workers have work."""
    folder, log = tmp_path_factory.mktemp("offline"), Log.founded()
    for number in range(limits.ARCHIVE_SEGMENT_ENTRIES + 50):
        log.note({"n": number})
    (folder / "trust.policy").write_bytes(log.policy())
    made = log.archive()
    made.write_zip(folder / "good.zip")
    name = payloads_name(limits.ARCHIVE_SEGMENT_ENTRIES)
    assert b'{"n":2060}' in made.files[name]
    made.files[name] = made.files[name].replace(b'{"n":2060}', b'{"n":9999}')
    made.reseal().write_zip(folder / "tampered.zip")
    return folder


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with nothing in its environment."""
    return subprocess.run(
        command, cwd=folder, env={}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def check_verdicts(*command: str | Path, folder: Path) -> None:
    """Assert that a command accepts the good archive and names what is wrong with the other."""
    asked = ("--trust", "trust.policy", "--require", "L1", "--jobs", "2")
    good = run(*command, "good.zip", *asked, folder=folder)
    assert (good.returncode, good.stderr) == (report.PASS, ""), good.stdout
    assert "VERIFIED. L1" in good.stdout
    bad = run(*command, "tampered.zip", *asked, folder=folder)
    assert (bad.returncode, bad.stderr) == (report.INTEGRITY, ""), bad.stdout
    assert "NOT VERIFIED. First at entry 2062: payload (check 11)" in bad.stdout


def test_one_file_and_a_bare_python_tell_good_from_tampered(folder: Path, tmp_path: Path) -> None:
    one_file = tmp_path / "build" / "ledgergrid-verify.pyz"
    subprocess.run(
        [sys.executable, ROOT / "tools/build_zipapp.py", one_file], check=True, timeout=TIMEOUT_S
    )
    alone = one_file.rename(tmp_path / "alone.pyz")
    # -S: not even what is installed beside this Python.
    bare = (bare_python(), "-I", "-S", alone)
    check_verdicts(*bare, folder=folder)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {"TMPDIR": str(scratch)}
    subprocess.run((*bare, folder / "good.zip"), env=environment, check=True, timeout=TIMEOUT_S)
    assert list(scratch.iterdir()) == [], "what was unpacked is still there"


def bare_python() -> Path:
    """Return the Python that this environment was made with."""
    major, minor = sys.version_info[:2]
    return Path(sys.base_prefix, "bin", f"python{major}.{minor}")


def test_it_runs_where_every_socket_is_refused(folder: Path) -> None:
    wrapped = (sys.executable, "-c", WITHOUT_SOCKETS)
    check_verdicts(*wrapped, "verifier", folder=folder)


def test_the_refusal_of_sockets_is_real(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text("import socket\nsocket.socket()\n")
    ended = run(sys.executable, "-c", WITHOUT_SOCKETS, "caller", folder=tmp_path)
    assert ended.returncode == 1
    assert "PermissionError: socket.__new__ was tried" in ended.stderr


def test_it_installs_and_runs_with_the_base_dependencies_alone(
    folder: Path, tmp_path: Path
) -> None:
    home = install_base(tmp_path)
    python = home / "bin/python"
    for name in SERVER_PACKAGES:
        ended = run(python, "-I", "-c", f"import {name}", folder=folder)
        assert f"ModuleNotFoundError: No module named '{name}'" in ended.stderr
    check_verdicts(home / "bin/ledgergrid-verify", folder=folder)
    check_verdicts(python, "-I", "-c", WITHOUT_SOCKETS, "verifier", folder=folder)


def install_base(folder: Path) -> Path:
    """Make an environment of our wheel and the base dependencies, as pinned."""
    home, wheels = folder / "venv", folder / "wheels"
    venv.create(home, with_pip=False, symlinks=True)
    into = (*PIP, "--python", str(home / "bin/python"), "install")
    build = (*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT)
    subprocess.run(build, check=True, timeout=TIMEOUT_S)
    base = (*into, "--require-hashes", "--requirement", ROOT / "requirements/base.txt")
    subprocess.run(base, check=True, timeout=TIMEOUT_S)
    subprocess.run((*into, "--no-deps", *wheels.iterdir()), check=True, timeout=TIMEOUT_S)
    return home
