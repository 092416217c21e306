"""This service as a witness of other logs (C2SP tlog-witness).

Needs no token: what is cosigned is authorised by the log's signature, and can be seen by all.
"""

from __future__ import annotations

from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Path, Request, Response, Security
from pydantic import BaseModel, Field

from api import actors, problems
from api.routes.parameters import StrictQuery, bearer
from api.service import Service, ServiceOf
from ledger_core.clock import format_time
from ledger_core.cosigner import Cosigner
from ledger_core.errors import NotFoundError, StaleError
from ledger_core.formats.witness import SIZE_MEDIA_TYPE, format_size

router = APIRouter(tags=["witness"], dependencies=[StrictQuery])
_TEXT = "text/plain; charset=utf-8"
_PLAIN: dict[str, Any] = {"content": {"text/plain": {"schema": {"type": "string"}}}}
_SIZE: dict[str, Any] = {
    "description": "Another size was cosigned last: it, and a newline",
    "content": {SIZE_MEDIA_TYPE: {"schema": {"type": "string"}}},
}
_BODY = {"requestBody": {"required": True, **_PLAIN}}

Digest = Annotated[
    str, Path(description="SHA-256 of the origin, in hex.", pattern=r"^[0-9a-f]{64}$")
]


class WitnessInfo(BaseModel):
    """What a log and a verifier need to know of this witness."""

    name: str
    vkeys: list[str] = Field(description="C2SP tlog-cosignature: Ed25519, then ML-DSA-44")
    submission_prefix: str = Field(description="`add-checkpoint` is posted below it")
    monitoring_prefix: str = Field(description="`<hex SHA-256 of the origin>/checkpoint` below it")
    logs: int = Field(description="how many origins this witness knows")


class EquivocationInfo(BaseModel):
    """Two notes of one size with two roots: both signed by the log, for anyone to check."""

    origin: str
    size: int
    found_at: str
    first: str
    second: str


class Equivocations(BaseModel):
    equivocations: list[EquivocationInfo] = Field(description="newest first, at most 1,000")


def _cosigner(service: Service) -> Cosigner:
    if service.cosigner is None:
        raise NotFoundError("this service is no witness")
    return service.cosigner


@router.post(
    "/witness/add-checkpoint",
    operation_id="add_checkpoint",
    response_class=Response,
    openapi_extra=_BODY,
    responses={
        200: {"description": "Signature lines of this witness", **_PLAIN},
        **problems.responses(400, 403, 404, 413, 503),
        409: _SIZE,
        **problems.responses(422),
    },
)
async def add_checkpoint(service: ServiceOf, request: Request) -> Response:
    """Cosign a checkpoint that continues what was cosigned last."""
    cosigner = _cosigner(service)
    raw = await request.body()
    try:
        lines = await anyio.to_thread.run_sync(cosigner.add_checkpoint, raw)
    except StaleError as error:
        # The body is for programs, and the type must have no charset.
        headers = {"Content-Type": SIZE_MEDIA_TYPE}
        return Response(format_size(error.size), 409, headers=headers)
    return Response(lines, media_type=_TEXT)


@router.head("/witness/{digest}/checkpoint", include_in_schema=False)
@router.get(
    "/witness/{digest}/checkpoint",
    operation_id="cosigned_checkpoint",
    response_class=Response,
    responses={200: _PLAIN, **problems.responses(400, 404, 503)},
)
def cosigned_checkpoint(service: ServiceOf, digest: Digest) -> Response:
    """Return the newest checkpoint of a log that this witness cosigned."""
    note = _cosigner(service).checkpoint(digest)
    return Response(note, headers={"Cache-Control": "no-cache"}, media_type=_TEXT)


@router.get(
    "/api/v1/witness", operation_id="get_witness", responses=problems.responses(400, 404)
)  # fmt: skip
def get_witness(service: ServiceOf, request: Request) -> WitnessInfo:
    """Tell this witness's name, keys and addresses."""
    cosigner = _cosigner(service)
    prefix = str(request.base_url).rstrip("/") + "/witness"
    return WitnessInfo(
        name=cosigner.name,
        vkeys=cosigner.vkeys,
        submission_prefix=prefix,
        monitoring_prefix=prefix,
        logs=len(cosigner.origins),
    )


@router.get(
    "/api/v1/witness/equivocations",
    operation_id="list_equivocations",
    dependencies=[Security(bearer)],
    responses=problems.responses(400, 401, 403, 404),
)
def list_equivocations(service: ServiceOf, request: Request) -> Equivocations:
    """Show the logs that signed two roots for one size. Needs an admin's token."""
    actors.check_role(actors.find_actor(service, request), "admin")
    found = _cosigner(service).equivocations()
    return Equivocations(
        equivocations=[
            EquivocationInfo(
                origin=each.origin,
                size=each.size,
                found_at=format_time(each.found_at),
                first=each.first.decode(),
                second=each.second.decode(),
            )
            for each in found
        ]
    )
