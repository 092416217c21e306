"""docs/start.md is true: its blocks run from top to bottom, and print what it says they print."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.docs.pages import ROOT, Block, blocks, read

PAGE = blocks(read("docs/start.md"))
SERVE, *STEPS = PAGE
RUN = ("bash", "python")
START_S = 60


def test_what_the_page_shows_is_what_happens(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path)
    with serving(tmp_path, environment) as greeting:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "".join(map(as_shell, STEPS))],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout
    printed = greeting + done.stdout
    promised = [line for each in PAGE if each.language == "text" for line in each.text.splitlines()]
    assert len(promised) > 10
    assert [line for line in promised if not was_printed(line, printed)] == [], printed


def test_every_block_is_run_or_compared() -> None:
    assert Block("bash", "ledgergrid serve --data data\n") == SERVE
    assert {each.language for each in PAGE} == {*RUN, "text"}


def test_the_readme_shows_the_same_commands() -> None:
    """What the README shows in five minutes is run here, or it is one of make's targets."""
    known = "".join(each.text for each in PAGE if each.language in RUN)
    shown = [each for each in blocks(read("README.md")) if each.language in RUN]
    assert len(shown) >= 2
    lines = [line for each in shown for line in each.text.splitlines() if line]
    assert [line for line in lines if line not in known and not line.startswith("make ")] == []


# --- running the page --------------------------------------------------------------


def as_shell(block: Block) -> str:
    if block.language == "python":
        code = block.text.replace('"http://127.0.0.1:8080', 'os.environ["LEDGERGRID_URL"] + "')
        return f"python - <<'END_OF_BLOCK'\n{code}END_OF_BLOCK\n"
    return block.text if block.language == "bash" else ""


def clean_environment(folder: Path) -> dict[str, str]:
    """Have a port of our own, our packages, and no setting that somebody left behind."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LEDGERGRID_")}
    port = free_port()
    return {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'sdk'}",
        "LEDGERGRID_PORT": str(port),
        "LEDGERGRID_URL": f"http://127.0.0.1:{port}",
        "XDG_DATA_HOME": str(folder / "state"),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Run the page's first block; give what it printed until it answered."""
    output = folder / "serve.out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            SERVE.text.split(), cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            wait_until_ready(environment["LEDGERGRID_URL"], process, output)
            yield output.read_text()
        finally:
            process.terminate()
            process.wait(START_S)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail(f"the service did not start:\n{output.read_text()}")


def was_printed(line: str, printed: str) -> bool:
    """Look for a line; an ellipsis in it stands for anything."""
    pattern = ".*".join(map(re.escape, line.split("…")))
    return re.search(f"^{pattern}$", printed, re.MULTILINE) is not None
