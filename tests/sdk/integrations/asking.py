"""What the recorded providers are asked, and what they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from api.demo.exchanges import body_bytes, read_exchanges

EXCHANGES: Final = {
    each["case"]: each
    for each in read_exchanges(Path(__file__).parents[3] / "api/demo/capture.jsonl")
}


def asked(case: str) -> Any:
    """Return what a recorded request asks, for an SDK to ask again."""
    return dict(EXCHANGES[case]["request"])


def answer(case: str) -> bytes:
    """Return the recorded answer's bytes."""
    return body_bytes(EXCHANGES[case]["response"])
