"""The ledgers of this service, and who may write to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field

from api import actors, problems
from api.actors import Actor
from api.routes.parameters import LedgerName, Limit, StrictQuery, bearer
from api.routes.records import acknowledgement, status_of
from api.service import Service, ServiceOf
from ledger_core import ids, limits
from ledger_core.errors import ForbiddenError, MalformedError, PayloadError
from ledger_core.formats.vkey import format_vkey
from ledger_core.ledger import Ledger
from ledger_core.records.types.charter import Founding, Kind, Parent
from ledger_core.records.types.key import Register, Revoke

router = APIRouter(
    prefix="/api/v1/ledgers", tags=["ledgers"], dependencies=[StrictQuery, Security(bearer)]
)
_KEYS = 100


class LedgerInfo(BaseModel):
    """One ledger: what to check its checkpoints with, and where it stands."""

    name: str
    origin: str
    kind: Kind
    log_key: str = Field(description="vkey of the log (C2SP signed-note)")
    size: int
    charter: str = Field(description="leaf hash of entry 0: the ledger's identity")


class NamedLogKey(BaseModel):
    """A key of the log, and the entry that named it: it signs every larger size."""

    since: int
    log_key: str


class NamedOrigin(BaseModel):
    """An origin of the log, and the first entry that has it: one more with each epoch."""

    since: int
    origin: str


class LedgerDetails(LedgerInfo):
    """One ledger, with the history of its log's key and its end."""

    origins: list[NamedOrigin] = Field(description="all origins of the log, oldest first")
    log_keys: list[NamedLogKey] = Field(description="all keys the log has had, oldest first")
    closed_by: int | None = Field(description="entry that closed it; null while it is open")


class LedgerList(BaseModel):
    ledgers: list[LedgerInfo]
    next: str | None = Field(description="give it as `after` for the next page")


class NewLedger(BaseModel):
    """A ledger to be made."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(max_length=limits.LEDGER_NAME_CHARS, examples=["orders"])
    kind: Kind = "private"
    origin: str | None = Field(default=None, max_length=limits.ORIGIN_CHARS)
    operators: list[str] = Field(
        [], max_length=_KEYS, description="operators' keys beside the service's own"
    )
    founding: dict[str, Any] | None = Field(
        default=None,
        description="members, keys, policies, audiences, mutability, parties: "
        "see docs/spec/governance.md",
    )
    parent: str | None = Field(
        default=None,
        max_length=limits.LEDGER_NAME_CHARS,
        description="the ledger of this service that a local ledger is anchored in",
    )


class RegisterKey(BaseModel):
    """A key to be registered, with its own signature over the possession message."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str = Field(max_length=100, examples=["ed25519:…"])
    roles: list[Literal["operator", "agent"]] = Field(min_length=1, max_length=2)
    possession: str = Field(max_length=100, description="base64url")


class RevokeKey(BaseModel):
    """A key to be revoked, and why."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str = Field(max_length=100)
    revoke: Literal["retired", "lost", "compromised"]


class AcknowledgementBody(BaseModel):
    """As for an appended record."""

    index: int
    leaf_hash: str
    received_at: str
    id: str
    receipt: str


def describe_ledger(ledger: Ledger) -> LedgerInfo:
    return LedgerInfo(
        name=ledger.name,
        origin=ledger.origin,
        kind=ledger.kind,
        log_key=format_vkey(ledger.log_key),
        size=ledger.size(),
        charter=ids.format_digest(ledger.charter),
    )


@router.get("", operation_id="list_ledgers", responses=problems.responses(400, 401))
def list_ledgers(
    service: ServiceOf,
    request: Request,
    after: Annotated[str, Query(max_length=limits.LEDGER_NAME_CHARS)] = "",
    limit: Limit = 100,
) -> LedgerList:
    """List the ledgers that whoever asks may see, by name."""
    actor = actors.find_actor(service, request)
    found = find_visible(service, actor, after, limit + 1)
    page = found[:limit]
    return LedgerList(
        ledgers=[describe_ledger(ledger) for ledger in page],
        next=page[-1].name if len(found) > limit else None,
    )


def find_visible(service: Service, actor: Actor, after: str, limit: int) -> list[Ledger]:
    """Return up to ``limit`` ledgers after a name, leaving out those the actor may not see."""
    found: list[Ledger] = []
    while len(found) < limit:
        names = service.ledgers.names(after=after, limit=limits.PAGE_ITEMS)
        found += filter(actor.sees, map(service.ledgers.get, names))
        if len(names) < limits.PAGE_ITEMS:
            break
        after = names[-1]
    return found[:limit]


@router.post(
    "",
    operation_id="create_ledger",
    status_code=201,
    responses=problems.responses(400, 401, 403, 404, 409, 413, 422),
)
def create_ledger(service: ServiceOf, request: Request, new: NewLedger) -> LedgerInfo:
    """Make a ledger; its charter is entry 0. Needs an admin's token."""
    actors.check_role(actors.find_actor(service, request), "admin")
    ledger = service.ledgers.create(
        new.name,
        kind=new.kind,
        origin=new.origin,
        operators=new.operators,
        founding=_to_founding(service, new),
    )
    return describe_ledger(ledger)


def _to_founding(service: Service, new: NewLedger) -> Founding:
    try:
        founding = msgspec.convert(new.founding or {}, Founding)
    except msgspec.ValidationError as error:
        raise PayloadError(f"founding: {error}") from None
    if new.parent is None:
        return founding
    parent = service.ledgers.get(new.parent)
    named = Parent(parent.origin, ids.format_digest(parent.charter))
    return msgspec.structs.replace(founding, parent=named)


@router.get(
    "/{ledger}", operation_id="get_ledger", responses=problems.responses(400, 401, 404)
)  # fmt: skip
def get_ledger(service: ServiceOf, request: Request, ledger: LedgerName) -> LedgerDetails:
    """Show one ledger, with the keys its log has had and whether it is closed."""
    found, _ = actors.open_ledger(service, request, ledger)
    keys = [NamedLogKey(since=index, log_key=vkey) for index, vkey in found.log_keys()]
    return LedgerDetails(
        **describe_ledger(found).model_dump(),
        origins=[NamedOrigin(since=at, origin=x) for at, x in found.constitution().origins],
        log_keys=keys,
        closed_by=found.constitution().closed,
    )


@router.post(
    "/{ledger}/log-key",
    operation_id="rotate_log_key",
    status_code=201,
    response_model=AcknowledgementBody,
    responses=problems.responses(400, 401, 403, 404, 409, 503),
)
def rotate_log_key(service: ServiceOf, request: Request, ledger: LedgerName) -> Response:
    """Hand over to the log's next key: a `log.key/1` record, signed by both keys.

    Needs an admin's token. Checkpoints that cover the record are signed by the new key.
    """
    found, actor = actors.open_ledger(service, request, ledger)
    actors.check_role(actor, "admin", found)
    done = found.rotate_log_key()
    answer = AcknowledgementBody.model_validate(acknowledgement(done), from_attributes=True)
    return Response(answer.model_dump_json(), status_of(done), media_type="application/json")


@router.post(
    "/{ledger}/keys",
    operation_id="change_key",
    status_code=201,
    response_model=AcknowledgementBody,
    responses={
        200: {"model": AcknowledgementBody},
        **problems.responses(400, 401, 403, 404, 409, 413, 422, 503),
    },
)
def change_key(
    service: ServiceOf, request: Request, ledger: LedgerName, change: RegisterKey | RevokeKey
) -> Response:
    """Register or revoke a key: a `key/1` record by the service's own operator key.

    Needs an admin's token. Other operators append `key/1` records of their own.
    """
    found, actor = actors.open_ledger(service, request, ledger)
    actors.check_role(actor, "admin", found)
    record = _to_record(change)
    if not found.is_operated_here():
        raise ForbiddenError(
            "this service's key is no operator of the ledger: an operator appends key/1 itself"
        )
    done = found.append_as_operator("key/1", msgspec.json.encode(record))
    answer = AcknowledgementBody.model_validate(acknowledgement(done), from_attributes=True)
    return Response(answer.model_dump_json(), status_of(done), media_type="application/json")


def _to_record(change: RegisterKey | RevokeKey) -> Register | Revoke:
    ids.parse_key(change.key)
    if isinstance(change, RevokeKey):
        return Revoke(change.key, change.revoke)
    if len(set(change.roles)) != len(change.roles):
        raise MalformedError("roles: each at most once")
    return Register(change.key, tuple(change.roles), change.possession)
