"""``python -m tests.vectors`` writes every vector file again, and docs/spec/record-types.md."""

from __future__ import annotations

from types import ModuleType
from typing import Any, cast

from tests.vectors import (
    anchor,
    archive,
    certificate,
    changes,
    entry,
    governance,
    notes,
    receipt,
    record,
    record_types,
    record_types_page,
    segment,
    session_export,
    signatures,
    submission,
    tree,
    trust_policy,
    witness,
)
from tests.vectors.build import FOLDER, format_file

FILES: dict[str, ModuleType] = {
    "tree": tree,
    "record": record,
    "signatures": signatures,
    "entry": entry,
    "note-and-checkpoint": notes,
    "receipt": receipt,
    "anchor": anchor,
    "trust-policy": trust_policy,
    "witness": witness,
    "submission": submission,
    "archive": archive,
    "record-types": record_types,
    "governance": governance,
    "changes": changes,
    "segment": segment,
    "certificate": certificate,
    "session-export": session_export,
}
"""Each page of docs/spec with vectors, and what makes them."""


def write_file(page: str) -> str:
    """Return the text of ``<page>.json``."""
    source = cast(Any, FILES[page])
    assert f"{page}.md" == source.PAGE
    return format_file(source.ABOUT, source.PAGE, source.cases())


def main() -> None:
    for page in FILES:
        path = FOLDER / f"{page}.json"
        path.write_text(write_file(page))
        print(f"{path.name}: {path.stat().st_size} bytes")
    record_types_page.write_all()


if __name__ == "__main__":
    main()
