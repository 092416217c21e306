"""The prices of this service: its own before the known ones."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from api.proxy.request import Request
from api.settings import PREFIX, Settings
from ledger_core.errors import SettingsError
from ledger_core.llm import estimate, prices
from ledger_core.llm.estimate import Cost
from ledger_core.llm.model import Answered, Asked
from ledger_core.llm.prices import Prices

_FILE_BYTES = 4 * 1024 * 1024


def read_prices(settings: Settings) -> Prices:
    """Read the prices that the settings name; :class:`SettingsError` if they are none."""
    own: dict[str, prices.Rates] = {}
    if settings.pricing_file is not None:
        try:
            with settings.pricing_file.open("rb") as file:
                data = file.read(_FILE_BYTES + 1)
        except OSError as error:
            raise SettingsError(f"{PREFIX}PRICING_FILE: {error.strerror}") from None
        if len(data) > _FILE_BYTES:
            raise SettingsError(f"{PREFIX}PRICING_FILE is larger than {_FILE_BYTES} bytes")
        own |= prices.parse_rates(data)
    if settings.pricing:
        own |= prices.parse_rates(settings.pricing.encode())
    return Prices(own)


class Pricing:
    """Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._prices = read_prices(settings)

    def reserve(self, request: Request, asked: Asked) -> int | None:
        """Return the most that a call may cost, None if nobody knows."""
        asked = _named(asked, request)
        return estimate.reserve(self._prices, asked, request.wire, request.provider, _at(request))

    def settle(
        self, request: Request, asked: Asked, answered: Answered, status: int | None
    ) -> Cost:
        """Return what a call used and cost, counted or estimated."""
        return estimate.settle(
            self._prices,
            _named(asked, request),
            answered,
            request.wire,
            provider=request.provider,
            status=status,
            at=_at(request),
        )


def _named(asked: Asked, request: Request) -> Asked:
    """Put in the model where only the path, or a form, names it."""
    if asked.model == request.model:
        return asked
    return msgspec.structs.replace(asked, model=request.model)


def _at(request: Request) -> datetime:
    return datetime.fromtimestamp(request.began_at_ms / 1000, UTC)
