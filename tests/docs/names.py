"""Finds out what a name in a document means: a module, class or function, a file, a table."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Final

from tests.docs.pages import ROOT

# Where a module named without its package may lie, as documents for people name them.
_ROOMS: Final = (
    "ledger_core",
    "ledger_core.formats",
    "ledger_core.keystore",
    "ledger_core.merkle",
    "ledger_core.policy",
    "ledger_core.records",
    "ledger_core.records.types",
    "ledger_core.storage",
    "api",
    "api.routes",
    "api.proxy",
    "verifier",
    "ledgergrid",
)
_FOLDERS: Final = ("", "ledger_core/", "ledger_core/storage/", "verifier/", "api/", "api/proxy/")


def is_file(name: str) -> bool:
    """Say whether a path, given from the root or from a package, is there."""
    return any((ROOT / folder / name).exists() for folder in _FOLDERS)


def is_code(name: str) -> bool:
    """Say whether ``module.Class.method`` is there, with the module's package or without."""
    module, *attributes = name.split(".")
    return any(_has(f"{room}.{module}", attributes) for room in _ROOMS)


def _has(module: str, attributes: list[str]) -> bool:
    if importlib.util.find_spec(module) is None:
        return False
    found: object = importlib.import_module(module)
    for attribute in attributes:
        if not hasattr(found, attribute):
            return False
        found = getattr(found, attribute)
    return True
