"""The objects of one running service, joined in ``app.py`` and handed to every route."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.bodies import Intake
from api.feed import Feed
from api.metrics import Metrics
from api.reporting import Reporter
from api.settings import Settings
from api.streams import Hub
from ledger_core.cosigner import Cosigner
from ledger_core.ledgers import Ledgers
from ledger_core.pool import Pool
from ledger_core.storage.database import Database
from ledger_core.storage.tokens import Tokens
from ledger_core.witnessing import Witnessing


@dataclass(frozen=True)
class Service:
    """What a request may need."""

    settings: Settings
    database: Database
    ledgers: Ledgers
    pool: Pool
    tokens: Tokens
    hub: Hub
    intake: Intake
    metrics: Metrics
    feed: Feed
    """Calls that just ended, for those who report on them."""
    reporters: Sequence[Reporter] = ()
    """What tells others of those calls."""
    cosigner: Cosigner | None = None
    """This service as witness of other logs, if it is one."""
    witnessing: Witnessing | None = None
    """Asks others to witness this service's ledgers, if anybody is to be asked."""


async def _service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(_service_of)]
