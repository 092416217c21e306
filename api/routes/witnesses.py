"""How far a ledger's witnesses are: what they cosigned, and what keeps them from it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Security
from pydantic import BaseModel, Field

from api import actors, problems
from api.routes.parameters import LedgerName, StrictQuery, bearer
from api.service import ServiceOf
from ledger_core.clock import format_time
from ledger_core.witnessed import Status, WitnessState

router = APIRouter(
    prefix="/api/v1/ledgers/{ledger}",
    tags=["witness"],
    dependencies=[StrictQuery, Security(bearer)],
)


class WitnessAnswer(BaseModel):
    """One witness, by its name in the service's policy."""

    name: str
    vkey: str
    size: int = Field(description="the largest size it cosigned; 0 if none")
    cosigned_at: str | None = Field(description="when, by its own clock")
    error: str | None = Field(description="what keeps it from cosigning now")
    error_since: str | None


class WitnessesAnswer(BaseModel):
    """What is witnessed of this ledger, and what is not."""

    size: int = Field(description="of the ledger")
    witnessed: int | None = Field(
        description="the largest size that has its quorum, 0 if none; null if none is asked for"
    )
    not_witnessed_since: str | None = Field(
        description="when the first entry without its quorum was received, if that is too long ago"
    )
    witnesses: list[WitnessAnswer]


@router.get(
    "/witnesses", operation_id="list_witnesses", responses=problems.responses(400, 401, 404)
)  # fmt: skip
def list_witnesses(service: ServiceOf, request: Request, ledger: LedgerName) -> WitnessesAnswer:
    """Show how far the witnesses are with this ledger."""
    found, _ = actors.open_ledger(service, request, ledger)
    return _show(found.witness_status())


def _show(status: Status) -> WitnessesAnswer:
    return WitnessesAnswer(
        size=status.size,
        witnessed=status.witnessed,
        not_witnessed_since=_time(status.not_witnessed_since),
        witnesses=[_show_one(each) for each in status.witnesses],
    )


def _show_one(state: WitnessState) -> WitnessAnswer:
    at_s = state.cosigned_at_s
    return WitnessAnswer(
        name=state.name,
        vkey=state.vkey,
        size=state.size,
        cosigned_at=None if at_s is None else format_time(at_s * 1000),
        error=state.error,
        error_since=_time(state.error_since),
    )


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else format_time(at_ms)
