"""From an exchange that ended to an ``llm.call/2`` in the ledger's outbox.

When an agent has its answer the record of the call is signed and on disk; the ledger's client
delivers it behind the agent's back. Nothing that goes wrong here reaches the agent: it is logged,
and counted. Who wants calls refused while nothing can be recorded uses the proxy.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Literal

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import LedgerGridError, SettingsError
from ledgergrid.client import Ledger
from ledgergrid.integrations.exchange import Exchange
from ledgergrid.integrations.labels import Labels, check_labels
from ledgergrid.sealing import BYTES, JSON, PartValue

if TYPE_CHECKING:
    from ledger_core.records.types.llm_call import LlmCall2

log = logging.getLogger("ledgergrid")

Level = Literal["full", "metadata"]

_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,50}")
_CONTENT_BYTES = limits.SUBMISSION_BYTES * 3 // 4 - 64 * 1024
"""What fits into one record as base64, with room for the rest of it."""


class Recorder:
    """Keeps calls at one ledger, under one set of labels. Any number of threads may use it."""

    def __init__(self, ledger: Ledger, labels: Labels, level: Level = "full") -> None:
        """Settle whom to believe; raises what that raises, so that no call finds out."""
        try:
            from ledgergrid.integrations.facts import describe
        except ModuleNotFoundError as error:
            raise SettingsError(f"no {error.name}: install ledgergrid[llm]") from None
        if not isinstance(ledger, Ledger):
            raise SettingsError("calls are recorded with a ledgergrid.Ledger, asyncio or not")
        check_labels(labels)
        ledger.learn()
        self._ledger = ledger
        self._level = level
        self._describe = describe
        self.labels: Labels = Labels(**{"session_id": ids.new_record_id(), **labels})
        self.lost = 0

    def keep(self, exchange: Exchange) -> None:
        """Record what went over the wire; never raises what the agent could not mend."""
        is_small = exchange.is_whole and (
            len(exchange.request.body) + len(exchange.body) <= _CONTENT_BYTES
        )
        level: Level = self._level if is_small else "metadata"
        try:
            parts: dict[str, PartValue] = {}
            call = self._describe(exchange, level)
            if level == "full":
                parts["request"] = (media_type(call.request_media_type), exchange.request.body)
                if exchange.headers:
                    answer = bytes(exchange.body)
                    parts["response"] = (media_type(call.response_media_type), answer)
            self.keep_call(call, parts)
        except (LedgerGridError, OSError) as error:
            self.lose(error)

    def keep_call(self, call: LlmCall2, parts: dict[str, PartValue]) -> None:
        """Put one call into the outbox."""
        described = (JSON, msgspec.json.encode(call))
        self._ledger.keep("llm.call/2", parts={"call": described, **parts})

    def lose(self, error: Exception) -> None:
        """Say that a call could not be recorded: neither sent nor kept."""
        self.lost += 1
        log.error("a call of a model was not recorded: %s", error)


def media_type(told: str | None) -> str:
    """Return a media type as records have it: in lower case, without parameters."""
    found = (told or "").partition(";")[0].strip().lower()
    return found if _MEDIA_TYPE.fullmatch(found) else BYTES
