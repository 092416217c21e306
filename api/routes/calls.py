"""Calls of models: a page of them, one in full, and what is summed over them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Security
from pydantic import BaseModel, Field

from api import problems
from api.calls.reading import By, CallReader, look
from api.routes.parameters import LedgerQuery, Name, Number, StrictQuery, bearer
from api.service import ServiceOf
from ledger_core import clock, limits
from ledger_core.errors import MalformedError
from ledger_core.policy.calls import DAY_MS
from ledger_core.storage.call_reading import CallFilter

router = APIRouter(tags=["calls"], dependencies=[StrictQuery, Security(bearer)])
_ANSWERS = problems.responses(400, 401, 404, 503)

Day = Annotated[str, Query(pattern=r"^\d{4}-\d{2}-\d{2}$", examples=["2026-08-01"])]
ActionId = Annotated[
    str, Path(min_length=1, max_length=500, pattern=r"^[^\x00]*$", description="The call's id.")
]
Wanted = Name | None


class Call(BaseModel, extra="allow"):
    """A call without what was said in it; docs/reference/read-api.md names every field."""

    action_id: str | None
    status: Literal["started", "done", "refused", "erased"] = Field(
        description="`started`: outcome unknown. `erased`: how it ended is gone."
    )
    timestamp: str | None = Field(description="when the call began")
    index: int = Field(description="entry of its start, or the only one")
    end_index: int | None = Field(description="entry that it ended by; none while it is started")
    receipt: str = Field(description="where the receipt of its newest entry is")
    cost_usd: float | None
    cost_microusd: int | None


class FullCall(Call):
    """A call with all that its reader may see of it."""

    messages: Any = None
    content: Any = None
    entries: list[dict[str, Any]] = Field(description="its entries, and how their parts stand")


class CallPage(BaseModel):
    """Calls that match, the newest first."""

    calls: list[Call]
    next: str | None = Field(description="give it as `cursor` for the next page")


class Sums(BaseModel, extra="allow"):
    """What some calls have in common, and their sums."""

    call_count: int
    error_count: int
    blocked_count: int = Field(description="refused before they were forwarded")
    started_count: int = Field(description="whose outcome is not known (yet)")
    unpriced_count: int = Field(description="whose cost is unknown: they are in no cost")
    total_tokens_in: int
    total_tokens_out: int
    total_tokens_cached: int
    total_latency_ms: int
    total_cost_usd: float | None = Field(description="none if no call has a known cost")
    total_cost_microusd: int | None


class Spending(BaseModel):
    spending: list[Sums]


class Models(BaseModel):
    models: list[Sums] = Field(description="with `p50_latency_ms`, `p95_…` and `p99_…`")


class Agents(BaseModel):
    agents: list[Sums]


class Users(BaseModel):
    users: list[Sums]


class Handoffs(BaseModel):
    handoffs: list[Sums] = Field(description="with `handoff_from` and `handoff_to`")


class Tool(BaseModel):
    tool: str
    executions: int
    call_count: int = Field(description="calls that called it")


class Tools(BaseModel):
    tools: list[Tool]


def parse_day(text: str | None) -> int | None:
    """Return a day, given like 2026-08-01, as a number since the Unix epoch."""
    return None if text is None else clock.parse_time(f"{text}T00:00:00.000Z") // DAY_MS


def parse_moment(text: str | None) -> int | None:
    """Return a time in ms, given in RFC 3339 or as a day; without a zone it is UTC."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise MalformedError(f"time {text[:40]!r} is not like 2026-08-01T10:11:12Z") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return int(at.timestamp() * 1000)


@router.get("/api/v1/calls", operation_id="list_calls", responses=_ANSWERS)
def list_calls(
    service: ServiceOf,
    request: Request,
    ledger: LedgerQuery = None,
    session_id: Wanted = None,
    agent: Wanted = None,
    user: Wanted = None,
    model: Wanted = None,
    provider: Wanted = None,
    app: Wanted = None,
    environment: Wanted = None,
    parent_action_id: Wanted = None,
    status: Literal["started", "done", "refused", "erased"] | None = None,
    since: Wanted = None,
    until: Wanted = None,
    cursor: Annotated[Number | None, Query(description="`next` of the page before")] = None,
    limit: Annotated[Number, Query(ge=1, le=limits.PAGE_ITEMS)] = 100,
) -> CallPage:
    """List calls, the newest first, without what was said in them."""
    wanted = CallFilter(
        session_id=session_id,
        agent_name=agent,
        user_id=user,
        model_id=model,
        provider=provider,
        app_id=app,
        environment=environment,
        parent_action_id=parent_action_id,
        status=status,
        since=parse_moment(since),
        until=parse_moment(until),
    )
    found = look(service, request, ledger).calls(wanted, before=cursor, limit=limit + 1)
    page = [Call.model_validate(each) for each in found[:limit]]
    return CallPage(calls=page, next=str(page[-1].index) if len(found) > limit else None)


@router.get("/api/v1/calls/{action_id:path}", operation_id="get_call", responses=_ANSWERS)
def get_call(
    service: ServiceOf, request: Request, action_id: ActionId, ledger: LedgerQuery = None
) -> FullCall:
    """Return one call with all that whoever asks may see of it."""
    return FullCall.model_validate(look(service, request, ledger).call(action_id))


@router.get("/explain/{action_id:path}", operation_id="explain_call", responses=_ANSWERS)
def explain(service: ServiceOf, request: Request, action_id: ActionId) -> FullCall:
    """Return one call in full, where tools of this kind look for it."""
    return FullCall.model_validate(look(service, request).call(action_id))


def _sums(rows: list[dict[str, Any]]) -> list[Sums]:
    return [Sums.model_validate(row) for row in rows]


def _by(reader: CallReader, by: By, since: str | None, until: str | None) -> list[Sums]:
    rows = reader.spending([by], parse_day(since), parse_day(until))
    key = {"agent": "agent_name", "user": "user_id"}[by]
    return _sums([row for row in rows if row[key] is not None])


@router.get("/api/v1/spending", operation_id="get_spending", responses=_ANSWERS)
def get_spending(
    service: ServiceOf,
    request: Request,
    ledger: LedgerQuery = None,
    by: Annotated[
        str,
        Query(
            description="what to sum by, one or more of day, model, agent and user",
            pattern=r"^(day|model|agent|user)(,(day|model|agent|user)){0,3}$",
            examples=["day,model"],
        ),
    ] = "day",
    since: Day | None = None,
    until: Day | None = None,
) -> Spending:
    """Sum calls by UTC day, model, agent or user; `until` is the first day left out."""
    keys: list[Any] = list(dict.fromkeys(by.split(",")))
    reader = look(service, request, ledger)
    return Spending(spending=_sums(reader.spending(keys, parse_day(since), parse_day(until))))


@router.get("/api/v1/models", operation_id="list_models", responses=_ANSWERS)
def list_models(
    service: ServiceOf,
    request: Request,
    ledger: LedgerQuery = None,
    since: Day | None = None,
    until: Day | None = None,
) -> Models:
    """Sum calls by model, with the latencies of the middle call and of the slowest."""
    rows = look(service, request, ledger).models(parse_day(since), parse_day(until))
    return Models(models=_sums(rows))


@router.get("/api/v1/agents", operation_id="list_agents", responses=_ANSWERS)
def list_agents(
    service: ServiceOf,
    request: Request,
    ledger: LedgerQuery = None,
    since: Day | None = None,
    until: Day | None = None,
) -> Agents:
    """Sum calls by the agent that made them."""
    return Agents(agents=_by(look(service, request, ledger), "agent", since, until))


@router.get("/api/v1/users", operation_id="list_users", responses=_ANSWERS)
def list_users(
    service: ServiceOf,
    request: Request,
    ledger: LedgerQuery = None,
    since: Day | None = None,
    until: Day | None = None,
) -> Users:
    """Sum calls by the user they were made for."""
    return Users(users=_by(look(service, request, ledger), "user", since, until))


@router.get("/api/v1/handoffs", operation_id="list_handoffs", responses=_ANSWERS)
def list_handoffs(
    service: ServiceOf,
    request: Request,
    ledger: LedgerQuery = None,
    since: Day | None = None,
    until: Day | None = None,
) -> Handoffs:
    """Sum calls by which agent handed over to which."""
    rows = look(service, request, ledger).handoffs(parse_day(since), parse_day(until))
    return Handoffs(handoffs=_sums(rows))


@router.get("/api/v1/tools", operation_id="list_tools", responses=_ANSWERS)
def list_tools(
    service: ServiceOf,
    request: Request,
    ledger: LedgerQuery = None,
    since: Day | None = None,
    until: Day | None = None,
) -> Tools:
    """Count the tools that models called, those called most first."""
    rows = look(service, request, ledger).tools(parse_day(since), parse_day(until))
    return Tools(tools=[Tool.model_validate(row) for row in rows])
