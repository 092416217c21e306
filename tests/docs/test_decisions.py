"""docs/design/: decisions have their four parts, are listed, and name code that is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.docs.names import is_code, is_file
from tests.docs.pages import ROOT, inline_code, links, read

DECISIONS: Final = sorted((ROOT / "docs/design/adr").glob("*.md"))
PARTS: Final = ("Context", "Decision", "Consequences", "What would change our mind")
OTHER_FILES: Final = (".md", ".db", ".toml", ".serving")


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_four_parts(page: Path) -> None:
    text = page.read_text("utf-8")
    assert [part for part in PARTS if f"\n**{part}.** " not in text] == []
    assert text.startswith(f"# {int(page.name[:4])}. ")


def test_every_decision_is_listed_once() -> None:
    listed = [link for link in links(read("docs/design/README.md")) if link.startswith("adr/")]
    assert listed == [f"adr/{page.name}" for page in DECISIONS]


def names(page: Path) -> list[str]:
    """Return what looks like a module's function or a Python file."""
    found = inline_code(page.read_text("utf-8"))
    dotted = [name for name in found if re.fullmatch(r"[a-z_/0-9]+(\.\w+)+", name)]
    return [name for name in dotted if not name.endswith(OTHER_FILES) and not name[0].isdigit()]


@pytest.mark.parametrize(
    "page", [*DECISIONS, ROOT / "docs/design/architecture.md"], ids=lambda page: page.stem
)
def test_code_named_in_a_design_page_is_there(page: Path) -> None:
    missing = [x for x in names(page) if not (is_file(x) if x.endswith(".py") else is_code(x))]
    assert missing == []
