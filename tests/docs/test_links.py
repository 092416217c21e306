"""Every link inside the project leads somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, every_page, links


@pytest.mark.parametrize("page", every_page(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert [target for target in links(page.read_text("utf-8")) if is_broken(page, target)] == []


def is_broken(page: Path, target: str) -> bool:
    if "://" in target or target.startswith("mailto:"):
        return False
    path, _, anchor = target.partition("#")
    found = page.parent / path if path else page
    if not found.exists():
        return True
    return bool(anchor) and anchor not in anchors(found.read_text("utf-8"))


def test_every_document_is_reached_from_the_readme() -> None:
    reached = set(reach(ROOT / "README.md", set()))
    assert [
        str(page.relative_to(ROOT))
        for page in every_page()
        if page.is_relative_to(ROOT / "docs") and page not in reached
    ] == []


def reach(page: Path, seen: set[Path]) -> Iterator[Path]:
    """Follow links from page to page; a link to a folder reads its README."""
    page = page / "README.md" if page.is_dir() else page
    if page in seen or page.suffix != ".md" or not page.exists():
        return
    seen.add(page)
    yield page
    for target in links(page.read_text("utf-8")):
        if "://" not in target and not target.startswith("#"):
            yield from reach((page.parent / target.partition("#")[0]).resolve(), seen)
