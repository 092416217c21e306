"""Sessions: a page of them, the calls of one, and its erasure. Paths and names of others' tools."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response, Security
from pydantic import BaseModel, Field

from api import actors, problems
from api.calls.reading import look
from api.routes.calls import FullCall, Sums, Wanted, parse_moment
from api.routes.parameters import Number, StrictQuery, bearer
from api.routes.subjects import LedgerOutcome
from api.service import ServiceOf
from ledger_core import limits
from ledger_core.errors import NotFoundError
from ledger_core.storage.call_reading import SessionFilter
from ledger_core.subjects import erase_subject

router = APIRouter(tags=["sessions"], dependencies=[StrictQuery, Security(bearer)])
SessionId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00]*$",
        description="The session's id, any text; a slash in it as `%2F`.",
    ),
]
Limit = Annotated[Number, Query(description="items a page", ge=1, le=limits.PAGE_ITEMS)]
Offset = Annotated[Number, Query(description="items to pass over")]
PAGED: dict[str, Any] = {
    "X-Total-Count": {"description": "items on all pages", "schema": {"type": "integer"}},
    "X-Limit": {"description": "items a page", "schema": {"type": "integer"}},
    "X-Offset": {"description": "items passed over", "schema": {"type": "integer"}},
    "X-Next-Offset": {"description": "if there are more", "schema": {"type": "integer"}},
}


class Session(Sums):
    """A session: the calls that say they belong to it. Names are the greatest of its calls'."""

    session_id: str
    started_at: str
    last_call_at: str
    model_id: str | None
    agent_name: str | None
    user_id: str | None
    environment: str | None
    models: list[str]
    agents: list[str]
    users: list[str]


class Erasing(BaseModel):
    """What was ordered: none of it is shown from now on."""

    deleted: int = Field(description="entries whose content is ordered to be erased")
    ledgers: list[LedgerOutcome]


def page(response: Response, total: int, limit: int, offset: int) -> None:
    """Say in the headers which page of how many items this is."""
    response.headers["X-Total-Count"] = str(total)
    response.headers["X-Limit"] = str(limit)
    response.headers["X-Offset"] = str(offset)
    if offset + limit < total:
        response.headers["X-Next-Offset"] = str(offset + limit)


@router.get(
    "/api/sessions",
    operation_id="list_sessions",
    responses={200: {"headers": PAGED}, **problems.responses(400, 401, 404, 503)},
)
def list_sessions(
    service: ServiceOf,
    request: Request,
    response: Response,
    agent: Wanted = None,
    user: Wanted = None,
    model: Annotated[Wanted, Query(description="part of a model's name")] = None,
    environment: Wanted = None,
    q: Annotated[Wanted, Query(description="part of a session's, agent's or user's name")] = None,
    since: Annotated[Wanted, Query(description="called last at this time or later")] = None,
    until: Annotated[Wanted, Query(description="called last before this time")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[Session]:
    """List sessions, those called last first."""
    wanted = SessionFilter(
        agent, user, model, environment, q, parse_moment(since), parse_moment(until)
    )
    found = look(service, request).sessions(wanted, limit=limit, offset=offset)
    page(response, found.total, limit, offset)
    return [Session.model_validate(each) for each in found.items]


@router.get(
    "/session/{session_id:path}",
    operation_id="get_session",
    responses={200: {"headers": PAGED}, **problems.responses(400, 401, 404, 503)},
)
def get_session(
    service: ServiceOf,
    request: Request,
    response: Response,
    session_id: SessionId,
    limit: Limit = limits.PAGE_ITEMS,
    offset: Offset = 0,
) -> list[FullCall]:
    """Return a session's calls in full, in the order they began.

    A page may end before its limit where calls are large; `X-Next-Offset` says where to go on.
    """
    reader = look(service, request)
    total = reader.summary(session_id)["call_count"]
    part = reader.session(session_id, limit=limit, offset=offset)
    page(response, total, part.passed - offset, offset)
    return [FullCall.model_validate(each) for each in part.calls]


@router.delete(
    "/api/sessions/{session_id:path}",
    operation_id="erase_session",
    responses=problems.responses(400, 401, 403, 404, 503),
)
def erase_session(service: ServiceOf, request: Request, session_id: SessionId) -> Erasing:
    """Order all that is about a session to be erased; what may not be is named, and why.

    Needs a token with the role admin: the ledger's operator signs the order, and where a policy
    asks for agreement, it waits for that.
    """
    ledger = look(service, request).ledger
    actors.check_role(actors.find_caller(service, request), "admin", ledger)
    if ledger is None:
        raise NotFoundError("no such session")
    outcome = erase_subject(ledger, f"session:{session_id}")
    if not outcome.orders and not outcome.spared:
        raise NotFoundError("no such session")
    return Erasing(
        deleted=sum(each.entries for each in outcome.orders),
        ledgers=[LedgerOutcome.model_validate(outcome, from_attributes=True)],
    )
