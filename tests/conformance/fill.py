"""The one place where the conformance run knows LedgerGrid itself: filling a log, serving it.

Everything else in this folder sees a LedgerGrid service as strangers do, over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where a service keeps what it keeps, and where it is to answer."""

    database_url: str
    folder: Path
    port: int


@dataclass(frozen=True)
class Filled:
    """A log that is ready to be served, and what strangers need to judge it.

    ``log_path`` and ``api_path`` follow the service's address: the prefix of the log's C2SP files,
    and that of its ``/proofs/…`` and ``/entries/…``. ``token`` is for readers, where it needs one.
    """

    vkey: str
    log_path: str
    api_path: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    token: str = ""


def fill(place: Place, entries: int) -> Filled:
    """Make a ledger of so many entries in a fresh database, and say how to serve it."""
    raise NotImplementedError("filling waits for ledger_core.ledger")
