"""Proofs for those who keep only hashes: inclusion, consistency, the newest checkpoint."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, Security
from pydantic import BaseModel, Field

from api import actors, problems
from api.routes.parameters import IndexQuery, LedgerName, Size, StrictQuery, WitnessedQuery, bearer
from api.service import ServiceOf
from ledger_core import ids
from ledger_core.errors import MalformedError, NotFoundError

router = APIRouter(
    prefix="/api/v1/ledgers/{ledger}",
    tags=["proofs"],
    dependencies=[StrictQuery, Security(bearer)],
)
TEXT = "text/plain; charset=utf-8"


class InclusionAnswer(BaseModel):
    """RFC 6962 section 2.1.1: `hashes` from the leaf's sibling to the root's child."""

    index: int
    size: int
    leaf_hash: str
    root: str
    hashes: list[str]


class ConsistencyAnswer(BaseModel):
    """RFC 6962 section 2.1.2."""

    from_size: int = Field(serialization_alias="from")
    to_size: int = Field(serialization_alias="to")
    root_from: str
    root_to: str
    hashes: list[str]


@router.get(
    "/proofs/inclusion",
    operation_id="prove_inclusion",
    responses=problems.responses(400, 401, 404),
)
def prove_inclusion(
    service: ServiceOf,
    request: Request,
    ledger: LedgerName,
    index: IndexQuery,
    size: Size | None = None,
) -> InclusionAnswer:
    """Prove that an entry is in the tree of `size`, the newest by default."""
    sight = actors.look(service, request, ledger)
    if size is not None and index >= size:
        raise MalformedError(f"index {index} is not in a tree of size {size}")
    sight.check_sees(index)
    newest = sight.ledger.size()
    proof = sight.prove_inclusion(index, newest if size is None else size)
    return InclusionAnswer(
        index=proof.index,
        size=proof.size,
        leaf_hash=ids.format_digest(proof.leaf_hash),
        root=ids.format_digest(proof.root),
        hashes=[ids.format_digest(each) for each in proof.hashes],
    )


@router.get(
    "/proofs/consistency",
    operation_id="prove_consistency",
    responses=problems.responses(400, 401, 404),
)
def prove_consistency(
    service: ServiceOf,
    request: Request,
    ledger: LedgerName,
    from_size: Annotated[Size, Query(alias="from")],
    to_size: Annotated[Size | None, Query(alias="to")] = None,
) -> ConsistencyAnswer:
    """Prove that the tree of size `to`, the newest by default, continues that of size `from`."""
    found, _ = actors.open_ledger(service, request, ledger)
    if from_size == 0 or (to_size is not None and from_size > to_size):
        raise MalformedError("a proof goes from a size of at least 1 to one no smaller")
    newest = found.size()
    if from_size > newest:
        raise NotFoundError(f"the ledger has {newest} entries, not {from_size}")
    to_size = newest if to_size is None else to_size
    proof = found.prove_consistency(from_size, to_size)
    return ConsistencyAnswer(
        from_size=proof.from_size,
        to_size=proof.to_size,
        root_from=ids.format_digest(proof.from_root),
        root_to=ids.format_digest(proof.to_root),
        hashes=[ids.format_digest(each) for each in proof.hashes],
    )


@router.get(
    "/checkpoint",
    operation_id="get_checkpoint",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems.responses(400, 401, 404),
    },
)
def get_checkpoint(
    service: ServiceOf, request: Request, ledger: LedgerName, witnessed: WitnessedQuery = False
) -> Response:
    """Return the newest signed checkpoint (C2SP tlog-checkpoint), or the newest witnessed one."""
    found, _ = actors.open_ledger(service, request, ledger)
    headers = {"Cache-Control": "no-cache"}
    note = found.checkpoint(witnessed=witnessed)
    return Response(note, headers=headers, media_type=TEXT)
