"""How long to go on trying: exponential backoff with jitter, and an end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from ledgergrid.errors import UnreachableError
from ledgergrid.wire import Flow, NoAnswerError, pause

T = TypeVar("T")

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0


class Patience:
    """Counts down from the first attempt on."""

    def __init__(self, patience_s: float) -> None:
        self._until = time.monotonic() + patience_s
        self._pause_s = _FIRST_PAUSE_S

    def next_pause_s(self, retry_after_s: float) -> float | None:
        """Return how long to wait before the next attempt; ``None`` when patience is at its end."""
        # Jitter, so that clients cut off together do not come back together.
        pause_s = max(random.uniform(self._pause_s / 2, self._pause_s), retry_after_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        return pause_s if time.monotonic() + pause_s <= self._until else None


def patiently(attempt: Callable[[], Flow[T]], patience_s: float) -> Flow[T]:
    """Try again until there is an answer; raise :class:`UnreachableError` when there is none."""
    patience = Patience(patience_s)
    while True:
        try:
            return (yield from attempt())
        except NoAnswerError as error:
            pause_s = patience.next_pause_s(error.retry_after_s)
            if pause_s is None:
                raise UnreachableError(str(error)) from error
        yield from pause(pause_s)
