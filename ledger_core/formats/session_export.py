"""A session's export: its calls as people and tools read them, and beside them what proves them.

::

    {"format": "ledgergrid/session-export@v1",
     "export": {…}, "session": {…}, "calls": [{…, "index": 4, "end_index": 5}],
     "proofs": {"ledger": "calls", "log_key": "…", "checkpoint": "…",
                "entries": [{"index": 4, "leaf": "…", "receipt": "…", "parts": {…}}]}}

What stands outside of ``proofs`` is read out of the entries in it; whoever verifies reads again
(docs/spec/session-export.md). JSON of any spelling: the bytes that were signed are in base64.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from ledger_core import limits
from ledger_core.errors import MalformedError, TooLargeError

FORMAT: Final = "ledgergrid/session-export@v1"


class ShownPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """A payload part; ``data`` and ``salt`` in base64, if its status is ``present``."""

    status: Literal["present", "withheld", "redacted", "erased", "missing"]
    data: str | None = None
    salt: str | None = None


class ShownEntry(msgspec.Struct, frozen=True):
    """An entry: its leaf in base64, its receipt (C2SP tlog-proof), and its payload."""

    index: int
    leaf: str
    receipt: str
    parts: dict[str, ShownPart]


class Proofs(msgspec.Struct, frozen=True):
    """``log_key`` says whose checkpoint it is; whoever verifies brings a key of their own."""

    ledger: str
    log_key: str
    checkpoint: str
    entries: Annotated[
        tuple[ShownEntry, ...], msgspec.Meta(max_length=limits.SESSION_EXPORT_ENTRIES)
    ]


class SessionExport(msgspec.Struct, frozen=True):
    """The whole. ``calls`` are dictionaries with the names that tools of this kind use."""

    format: Literal["ledgergrid/session-export@v1"]
    export: dict[str, Any]
    session: dict[str, Any]
    calls: list[dict[str, Any]]
    proofs: Proofs


_DECODER = msgspec.json.Decoder(SessionExport)


def format_session(export: SessionExport) -> bytes:
    return msgspec.json.format(msgspec.json.encode(export), indent=1) + b"\n"


def parse_session(raw: bytes) -> SessionExport:
    """Parse the text and prove nothing of it."""
    if len(raw) > limits.SESSION_EXPORT_BYTES:
        raise TooLargeError(f"session export is larger than {limits.SESSION_EXPORT_BYTES} bytes")
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"session export is not valid: {error}") from None
