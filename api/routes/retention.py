"""What the schedule would erase, and having it ordered now."""

from __future__ import annotations

from fastapi import APIRouter, Request, Security
from pydantic import BaseModel, Field

from api import actors, problems
from api.routes.parameters import LedgerName, StrictQuery, bearer
from api.service import ServiceOf
from ledger_core.clock import format_time
from ledger_core.schedule import Due

router = APIRouter(
    prefix="/api/v1/ledgers/{ledger}/retention",
    tags=["retention"],
    dependencies=[StrictQuery, Security(bearer)],
)


class DueInfo(BaseModel):
    """A part of a record type whose time is up."""

    type: str
    part: str
    keep_s: int = Field(description="seconds that the setting in force keeps it")
    before: str = Field(description="entries received before this are due")
    count: int = Field(description="how many parts an order takes")
    held: int = Field(description="how many more are spared, because a hold is on them")
    oldest: str | None = Field(description="when the first of them was received")
    newest: str | None = Field(description="when the last of them was received")


class Plan(BaseModel):
    due: list[DueInfo]


class OrderInfo(DueInfo):
    index: int = Field(description="the entry that orders it")


class Orders(BaseModel):
    orders: list[OrderInfo]


@router.get("", operation_id="plan_retention", responses=problems.responses(400, 401, 403, 404))
def plan_retention(service: ServiceOf, request: Request, ledger: LedgerName) -> Plan:
    """Say what would be ordered to be erased now; orders nothing. Needs an admin's token."""
    found, actor = actors.open_ledger(service, request, ledger)
    actors.check_role(actor, "admin", found)
    plan = service.ledgers.schedule.plan(found)
    return Plan(due=[DueInfo.model_validate(_describe(each)) for each in plan])


@router.post(
    "",
    operation_id="run_retention",
    status_code=201,
    responses=problems.responses(400, 401, 403, 404, 503),
)
def run_retention(service: ServiceOf, request: Request, ledger: LedgerName) -> Orders:
    """Order what is due to be erased, as the service does by itself once an interval.

    Needs an admin's token. Where nothing is due nothing is written.
    """
    found, actor = actors.open_ledger(service, request, ledger)
    actors.check_role(actor, "admin", found)
    done = service.ledgers.schedule.run(found)
    return Orders(
        orders=[
            OrderInfo.model_validate(_describe(due) | {"index": placed.index})
            for due, placed in done
        ]
    )


def _describe(due: Due) -> dict[str, object]:
    return {
        "type": due.type,
        "part": due.part,
        "keep_s": due.keep_s,
        "before": due.before,
        "count": due.count,
        "held": due.held,
        "oldest": format_time(due.oldest) if due.count else None,
        "newest": format_time(due.newest) if due.count else None,
    }
