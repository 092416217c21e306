"""Who records no calls pays for nothing that recording needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "module", ["ledgergrid", "ledgergrid.integrations.openai", "ledgergrid.integrations.anthropic"]
)
def test_no_prices_and_no_providers_sdk_are_loaded_by_an_import(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "wanted = ('genai_prices', 'openai', 'anthropic', 'langchain_core', 'httpx2')\n"
        "sys.exit(', '.join(name for name in wanted if name in sys.modules))\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'sdk'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""


def test_what_is_missing_is_named_with_what_installs_it(tmp_path: Path) -> None:
    (tmp_path / "genai_prices.py").write_text("raise ModuleNotFoundError(name='genai_prices')\n")
    code = (
        "from ledgergrid import Ledger, Signer\n"
        "from ledgergrid.integrations.openai import record\n"
        "ledger = Ledger('http://[::1]:9', ledger='main', signer=Signer.make(), state_dir='s')\n"
        "record(object(), ledger)\n"
    )
    path = os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "sdk")))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no genai_prices: install ledgergrid[llm]" in done.stderr
