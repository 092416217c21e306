"""Where a closed ledger is anchored, and the proof that leads there from each of its entries."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response, Security
from pydantic import BaseModel, Field

from api import actors, problems
from api.routes.parameters import Index, LedgerName, StrictQuery, bearer
from api.routes.proofs import TEXT
from api.service import ServiceOf
from ledger_core.errors import NotFoundError

router = APIRouter(
    prefix="/api/v1/ledgers/{ledger}",
    tags=["anchors"],
    dependencies=[StrictQuery, Security(bearer)],
)


class AnchorInfo(BaseModel):
    """Where a closed ledger ended, and which entry of its parent says so."""

    size: int = Field(description="number of entries, the closing among them")
    parent: str | None = Field(description="origin of the parent, as the charter names it")
    index: int | None = Field(description="entry of the parent; null before it is anchored")
    problem: str | None = Field(description="why it is not anchored yet, if something is wrong")


@router.get("/anchor", operation_id="get_anchor", responses=problems.responses(400, 401, 404))
def get_anchor(service: ServiceOf, request: Request, ledger: LedgerName) -> AnchorInfo:
    """Show where a closed ledger is anchored; 404 while it is open."""
    found, _ = actors.open_ledger(service, request, ledger)
    closing = found.closing()
    if closing is None:
        raise NotFoundError("this ledger is not closed")
    parent = found.charter_body().parent
    return AnchorInfo(
        size=closing.size,
        parent=None if parent is None else parent.origin,
        index=closing.anchor,
        problem=closing.error,
    )


@router.get(
    "/entries/{index}/anchored-receipt",
    operation_id="get_anchored_receipt",
    response_class=Response,
    responses={
        200: {"content": {TEXT: {"schema": {"type": "string"}}}},
        **problems.responses(400, 401, 404),
    },
)
def get_anchored_receipt(
    service: ServiceOf, request: Request, ledger: LedgerName, index: Index
) -> Response:
    """Prove an entry of a closed ledger in its parent's log (docs/spec/anchor.md).

    Whoever may see the entry may see its ledger's anchor, whoever the parent is for.
    """
    sight = actors.look(service, request, ledger)
    sight.check_sees(index)
    proof = service.ledgers.anchorer.prove(sight.ledger, index)
    return Response(proof, media_type=TEXT)
