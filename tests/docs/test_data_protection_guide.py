"""docs/guides/data-protection.md is true: its blocks run from top to bottom, and print it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.docs.pages import Block, blocks, read
from tests.docs.test_start import as_shell, clean_environment, serving, was_printed

PAGE = blocks(read("docs/guides/data-protection.md"))
ASKS = "amend|rollback|redact|hold|release|erase|endorse"


def test_what_the_guide_shows_is_what_happens(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path)
    with serving(tmp_path, environment):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "".join(map(as_officer, PAGE))],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
    assert done.returncode == 0, done.stdout
    printed = done.stdout.replace("[y/N]: ", "[y/N]: y\n")  # As a terminal shows what is typed.
    promised = [line for each in PAGE if each.language == "text" for line in each.text.splitlines()]
    assert len(promised) > 20
    assert [line for line in promised if not was_printed(line, printed)] == [], printed


def as_officer(block: Block) -> str:
    """Answer yes to what a person is asked."""
    return re.sub(rf"^(ledgergrid (?:{ASKS}) )", r"echo y | \1", as_shell(block), flags=re.M)
