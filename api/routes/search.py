"""Searching what was said in calls."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Security

from api import problems
from api.calls.reading import look
from api.routes.calls import FullCall
from api.routes.parameters import LedgerQuery, Number, StrictQuery, bearer
from api.service import ServiceOf

router = APIRouter(tags=["calls"], dependencies=[StrictQuery, Security(bearer)])


@router.get(
    "/api/search", operation_id="search_calls", responses=problems.responses(400, 401, 404, 503)
)
def search(
    service: ServiceOf,
    request: Request,
    q: Annotated[
        str,
        Query(
            max_length=500,
            pattern=r"^[^\x00]*$",
            description='words, or beginnings of words; "in quotes" as they stand',
        ),
    ] = "",
    ledger: LedgerQuery = None,
    limit: Annotated[Number, Query(description="calls at most", ge=1, le=200)] = 20,
) -> list[FullCall]:
    """Find calls by what was asked and answered in them, the best matches of the newest first.

    Case and accents do not matter. A fresh call is found a moment after it
    ended; while calls come without a pause, some seconds later.
    """
    return [FullCall.model_validate(x) for x in look(service, request, ledger).search(q, limit)]
