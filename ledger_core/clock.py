"""UTC time as it stands in our formats: RFC 3339 with exactly three decimals and ``Z``.

>>> format_time(0)
'1970-01-01T00:00:00.000Z'
>>> parse_time('2026-08-01T10:11:12.345Z')
1785579072345
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ledger_core.errors import MalformedError

Clock = Callable[[], int]
"""Returns the time now, in milliseconds since the Unix epoch. Tests pass their own."""

_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def now_ms() -> int:
    """Return the machine's time in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def format_time(at_ms: int) -> str:
    """Format milliseconds since the Unix epoch, years 1970 to 9999."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{_format_second(seconds)}.{ms:03d}Z"


@lru_cache(maxsize=4096)
def _format_second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))


@lru_cache(maxsize=4096)
def parse_time(text: str) -> int:
    """Parse what :func:`format_time` emits, and nothing else."""
    if not _FORM.fullmatch(text):
        raise MalformedError(f"time {text[:40]!r} is not like 2026-08-01T10:11:12.345Z")
    return _parse_second(text[:19]) + int(text[20:23])


@lru_cache(maxsize=4096)
def _parse_second(text: str) -> int:
    """Return milliseconds; many records share a second, so its calendar is done once."""
    try:
        at = datetime.fromisoformat(f"{text}+00:00")
    except ValueError as error:
        raise MalformedError(f"time {text!r} is not a real time: {error}") from None
    if at < _EPOCH:
        raise MalformedError(f"time {text!r} is before 1970")
    if at.isoformat() != f"{text}+00:00":
        # Newer Pythons read 24:00:00 as the next day's midnight, a second spelling.
        raise MalformedError(f"time {text!r} is not in its one spelling")
    return (at - _EPOCH) // _MILLISECOND
