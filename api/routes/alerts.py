"""Alerts: those that were raised, out of the log, and a test of where they go."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Security
from pydantic import BaseModel, Field

from api import actors, problems
from api.alerts.payloads import to_plain
from api.alerts.targets import Undelivered
from api.reporting import open_webhook
from api.routes.parameters import IndexQuery, StrictQuery, bearer
from api.service import ServiceOf
from api.sight import Sight
from ledger_core import limits
from ledger_core.clock import format_time, now_ms
from ledger_core.errors import NotFoundError
from ledger_core.records.types.alert import ALERT_1, Alert
from ledger_core.storage.search import EntryQuery

router = APIRouter(
    prefix="/api/v1/alerts", tags=["alerts"], dependencies=[StrictQuery, Security(bearer)]
)
_PART = "alert"

PageSize = Annotated[int, Query(description="Alerts a page.", ge=1, le=limits.PAGE_ITEMS)]


class AlertInfo(BaseModel):
    """An alert as a webhook gets it: US dollars, milliseconds, or a share of 1.

    Of one that was erased since, nothing but its entry is left.
    """

    index: int = Field(description="its entry in the ledger of calls")
    type: str | None
    message: str | None
    value: float | None
    threshold: float | None
    action_id: str | None
    session_id: str | None
    agent_name: str | None
    timestamp: str | None


class AlertPage(BaseModel):
    """Alerts, the newest first."""

    alerts: list[AlertInfo]
    next: str | None = Field(description="give it as `cursor` for the next page")


class Tested(BaseModel):
    """Whether a test arrived, and what kept it from arriving."""

    delivered: bool
    reason: str | None


@router.get("", operation_id="list_alerts", responses=problems.responses(400, 401, 404))
def list_alerts(
    service: ServiceOf,
    request: Request,
    cursor: IndexQuery | None = None,
    limit: PageSize = 100,
) -> AlertPage:
    """List the alerts that were raised, as the log has them."""
    name = service.settings.capture_ledger
    actor = actors.find_caller(service, request)
    try:
        ledger = service.ledgers.get(name)
    except NotFoundError:
        return AlertPage(alerts=[], next=None)  # Not one call has been captured yet.
    if not actor.sees(ledger):
        raise NotFoundError(f"no ledger named {name[:80]!r}")
    sight = Sight(ledger, actor.reader_of(ledger))
    query = EntryQuery(type=ALERT_1.name, after=cursor, limit=limit, descending=True)
    page = sight.search(query)
    shown = _read(sight, list(page.indexes))
    return AlertPage(alerts=shown, next=None if page.next is None else str(page.next))


def _read(sight: Sight, indexes: list[int]) -> list[AlertInfo]:
    """Read alerts with what is left of them for this reader, the newest first."""
    entries = sight.pick(sight.ledger.entries(indexes))
    parts = sight.parts(entries, sight.ledger.states.of(entries))
    found: list[AlertInfo] = []
    for entry in entries:
        said = None
        if _PART in entry.parts and parts[entry.index][_PART].status == "present":
            said = msgspec.json.decode(entry.parts[_PART].data, type=Alert)
        found.append(_show(entry.index, said))
    return sorted(found, key=lambda each: -each.index)


def _show(index: int, alert: Alert | None) -> AlertInfo:
    fields = AlertInfo.model_fields.keys() - {"index"}
    plain = dict.fromkeys(fields) if alert is None else to_plain(alert)
    return AlertInfo(index=index, **plain)


@router.post("/test", operation_id="test_alerts", responses=problems.responses(400, 401, 403, 404))
def send_test(service: ServiceOf, request: Request) -> Tested:
    """Send a test to the webhook, once, and say whether it arrived. Nothing is recorded.

    Needs an admin's token that is bound to no ledger. 404 if there is no webhook.
    """
    actors.check_role(actors.find_actor(service, request), "admin")
    webhook = open_webhook(service.settings)
    if webhook is None:
        raise NotFoundError("no webhook is set: LEDGERGRID_ALERT_WEBHOOK_URL")
    plain = {
        "type": "test",
        "message": "This is a test; nothing happened.",
        "value": 0.0,
        "threshold": 0.0,
        "action_id": None,
        "session_id": None,
        "agent_name": None,
        "timestamp": format_time(now_ms()),
    }
    try:
        asyncio.run(webhook.deliver(plain, f"ledgergrid-test-{now_ms()}", tries=1))
    except Undelivered as error:
        return Tested(delivered=False, reason=str(error))
    return Tested(delivered=True, reason=None)
