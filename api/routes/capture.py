"""What calls may cost, whether they are stopped, and which of them never ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field

from api import actors, problems
from api.calls.reading import look
from api.routes.ledgers import AcknowledgementBody
from api.routes.parameters import StrictQuery, bearer
from api.routes.records import acknowledgement, status_of
from api.service import Service, ServiceOf
from ledger_core import clock
from ledger_core.capturing import open_capture_ledger
from ledger_core.errors import ForbiddenError, MalformedError
from ledger_core.ledger import Ledger
from ledger_core.policy.constitution import Capture
from ledger_core.records.types.capture_limits import CAPTURE_LIMITS_1, CaptureLimits
from ledger_core.records.types.capture_stop import CAPTURE_STOP_1, CaptureStop
from ledger_core.storage.call_reading import CallFilter

router = APIRouter(
    prefix="/api/v1/capture", tags=["capture"], dependencies=[StrictQuery, Security(bearer)]
)
_OPEN_AFTER_MS = 3_600_000
_OPEN_SHOWN = 100
_CHANGED: dict[str, Any] = {
    "status_code": 201,
    "response_model": AcknowledgementBody,
    "responses": {
        200: {"model": AcknowledgementBody},
        **problems.responses(400, 401, 403, 409, 413, 422, 503),
    },
}


class Why(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=10_000, description="for whoever reads the log")


class OpenCall(BaseModel):
    """A call that began and of which nobody knows how it ended."""

    action_id: str
    timestamp: str
    model_id: str | None
    session_id: str | None
    agent_name: str | None


class CaptureStatus(BaseModel):
    ledger: str = Field(description="the ledger that calls are captured in")
    is_stopped: bool
    stopped_since: int | None = Field(description="entry that stopped all calls")
    reason: str
    limits: dict[str, Any] = Field(
        description="the newest `capture.limits/1` in force; what it leaves out is as the service "
        "was started"
    )
    limits_since: int | None = Field(description="entry that set them")
    open_calls: list[OpenCall] = Field(
        description=f"calls that began more than an hour ago and have no end, the newest "
        f"{_OPEN_SHOWN} of those this reader may see"
    )


@router.get("", operation_id="get_capture", responses=problems.responses(400, 401))
def get_capture(service: ServiceOf, request: Request) -> CaptureStatus:
    """Show the limits of calls and whether they are stopped, and calls that never ended."""
    reader = look(service, request)
    ledger = reader.ledger
    capture = Capture() if ledger is None else ledger.constitution().capture
    before = clock.now_ms() - _OPEN_AFTER_MS
    wanted = CallFilter(status="started", until=before)
    names = OpenCall.model_fields
    return CaptureStatus(
        ledger=service.settings.capture_ledger,
        is_stopped=capture.stopped_since is not None,
        stopped_since=capture.stopped_since,
        reason=capture.reason,
        limits=msgspec.to_builtins(capture.limits),
        limits_since=capture.limits_since,
        open_calls=[
            OpenCall.model_validate({name: call.get(name) for name in names})
            for call in reader.calls(wanted, before=None, limit=_OPEN_SHOWN)
        ],
    )


@router.post("/limits", operation_id="set_capture_limits", **_CHANGED)
def set_limits(
    service: ServiceOf,
    request: Request,
    limits: Annotated[dict[str, Any], Body(description="the body of a `capture.limits/1`")],
) -> Response:
    """Set what calls may cost, how many there may be and which: the whole set, by one record.

    Needs an admin's token. Where a policy governs `capture.limits/1`, they are proposed.
    """
    ledger = _open(service, request)
    try:
        said = msgspec.convert(limits, CaptureLimits)
    except msgspec.ValidationError as error:
        raise MalformedError(f"limits: {error}") from None
    return _append(ledger, CAPTURE_LIMITS_1.name, said)


@router.post("/stop", operation_id="stop_calls", **_CHANGED)
def stop(service: ServiceOf, request: Request, why: Why) -> Response:
    """Stop all calls, in every process, from the next one on. Needs an admin's token."""
    return _append(_open(service, request), CAPTURE_STOP_1.name, CaptureStop("stop", why.reason))


@router.post("/resume", operation_id="resume_calls", **_CHANGED)
def resume(service: ServiceOf, request: Request, why: Why) -> Response:
    """Let calls go on. Needs an admin's token."""
    return _append(_open(service, request), CAPTURE_STOP_1.name, CaptureStop("resume", why.reason))


def _open(service: Service, request: Request) -> Ledger:
    """Return the ledger of calls, founded if it is not there, to an admin; blocking."""
    name = service.settings.capture_ledger
    actor = actors.find_actor(service, request)
    here = replace(actor, ledger=None) if actor.ledger == name else actor
    actors.check_role(here, "admin")
    ledger = open_capture_ledger(service.ledgers, name)
    if not ledger.is_operated_here():
        raise ForbiddenError(
            "this service's key is no operator of the ledger: an operator appends it itself"
        )
    return ledger


def _append(ledger: Ledger, type_name: str, body: CaptureLimits | CaptureStop) -> Response:
    done = ledger.append_as_operator(type_name, msgspec.json.encode(body))
    answer = AcknowledgementBody.model_validate(acknowledgement(done), from_attributes=True)
    return Response(answer.model_dump_json(), status_of(done), media_type="application/json")
