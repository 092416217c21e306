"""A real browser for tests: whatever Chromium there is on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Error, sync_playwright


@contextmanager
def browser(*arguments: str) -> Iterator[Browser]:
    """Start a browser until the block ends; the test is skipped where there is none."""
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        options = ["--no-sandbox", "--disable-dev-shm-usage", *arguments]
        try:
            started = playwright.chromium.launch(executable_path=found, args=options)
        except Error as error:
            pytest.skip(f"no browser: {error.message.splitlines()[0]}")
        try:
            yield started
        finally:
            started.close()
