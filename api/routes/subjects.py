"""Erasing what is about one subject, in all ledgers of the service, and certifying it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field

from api import actors, problems
from api.routes.parameters import StrictQuery, bearer
from api.service import ServiceOf
from ledger_core import limits
from ledger_core.clock import now_ms
from ledger_core.policy.certificate import format_certificate
from ledger_core.subjects import certify, erase_subject

router = APIRouter(prefix="/api/v1", tags=["erasure"], dependencies=[StrictQuery, Security(bearer)])


class Where(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ledgers: list[str] | None = Field(
        default=None,
        max_length=limits.CERTIFICATE_ORDERS,
        description="names of ledgers; all of the service if left out",
    )


class OrderInfo(BaseModel):
    index: int
    leaf_hash: str
    entries: int = Field(description="how many entries it names")
    waits: bool = Field(description="whether others have to agree first")


class SparedInfo(BaseModel):
    """An entry about the subject that may not be erased."""

    index: int
    reason: str


class LedgerOutcome(BaseModel):
    ledger: str
    orders: list[OrderInfo]
    spared: list[SparedInfo]


class SubjectOutcome(BaseModel):
    """Of every ledger that had anything about the subject, what was ordered and what was not."""

    ledgers: list[LedgerOutcome]


@router.post(
    "/subjects/{subject:path}/erasure",
    operation_id="erase_subject",
    status_code=201,
    responses=problems.responses(400, 401, 403, 404, 503),
)
def erase(
    service: ServiceOf,
    request: Request,
    subject: Annotated[str, Path(min_length=1, max_length=limits.SUBJECT_CHARS)],
    where: Where,
) -> SubjectOutcome:
    """Order all that is about a subject to be erased, one order for each ledger and policy.

    Needs an admin's token that is bound to no ledger. What may not be erased is named, and why.
    """
    actors.check_role(actors.find_actor(service, request), "admin")
    if where.ledgers is None:
        ledgers = service.ledgers.each()
    else:
        ledgers = map(service.ledgers.get, dict.fromkeys(where.ledgers))
    outcomes = [erase_subject(ledger, subject) for ledger in ledgers]
    found = [each for each in outcomes if each.orders or each.spared]
    return SubjectOutcome(
        ledgers=[LedgerOutcome.model_validate(each, from_attributes=True) for each in found]
    )


class NamedOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ledger: str
    order: str = Field(description="leaf hash of an `erasure/1`")


class Orders(BaseModel):
    model_config = ConfigDict(extra="forbid")

    orders: list[NamedOrder] = Field(min_length=1, max_length=limits.CERTIFICATE_ORDERS)


@router.post(
    "/certificates",
    operation_id="certify_erasure",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **problems.responses(400, 401, 403, 404),
    },
)
def certify_erasure(service: ServiceOf, request: Request, named: Orders) -> Response:
    """Certify orders that are done, for a person to keep (docs/spec/certificate.md).

    Needs an admin's token that is bound to no ledger. 404 as long as one of them is not done.
    """
    actors.check_role(actors.find_actor(service, request), "admin")
    orders = [(service.ledgers.get(each.ledger), each.order) for each in named.orders]
    certificate = certify(orders, now_ms())
    return Response(format_certificate(certificate), media_type="application/json")
