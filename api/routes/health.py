"""Is the process alive, can it serve, and what has it counted?"""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request, Response, Security
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from api import actors, problems
from api.metrics import LEDGERS, LedgerNumbers
from api.routes.ledgers import find_visible
from api.routes.parameters import StrictQuery, bearer
from api.service import Service, ServiceOf
from ledger_core.clock import now_ms
from ledger_core.errors import AccessError, LedgerGridError, NotFoundError
from ledger_core.ledger import Ledger

router = APIRouter(tags=["health"], dependencies=[StrictQuery])


class Health(BaseModel):
    """What is well; ``problems`` is empty."""

    status: str
    problems: list[str]


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", operation_id="healthz", responses=problems.responses(400))
async def healthz() -> Health:
    """Answer as long as the process lives."""
    return Health(status="ok", problems=[])


class Liveness(BaseModel):
    """What tools of this kind ask for first."""

    status: str
    version: str
    calls_stopped: bool = Field(description="whether all calls are refused now")


@router.head("/health", include_in_schema=False)
@router.get("/health", operation_id="health", responses=problems.responses(400, 503))
def health(service: ServiceOf) -> Liveness:
    """Answer as tools of this kind do, and say whether calls are stopped."""
    try:
        ledger = service.ledgers.get(service.settings.capture_ledger)
    except NotFoundError:
        is_stopped = False
    else:
        is_stopped = ledger.constitution().capture.stopped_since is not None
    return Liveness(status="ok", version=version("ledgergrid"), calls_stopped=is_stopped)


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    operation_id="readyz",
    responses={503: {"model": Health}, **problems.responses(400)},
)
def readyz(service: ServiceOf, response: Response) -> Health:
    """Answer 200 if database and key store answer and no ledger contradicts what was signed."""
    found = find_problems(service)
    if found:
        response.status_code = 503
    return Health(status="not ready" if found else "ok", problems=found)


def find_problems(service: Service) -> list[str]:
    """Name what keeps this process from serving as it should; blocking."""
    try:
        forks = service.ledgers.check_signed()
    except LedgerGridError as error:
        return [f"database: {error.title}"]
    found = [f"{fork.code}: {fork}" for fork in forks]
    try:
        service.ledgers.payloads.keys.find_destroyed([bytes(32)])
    except LedgerGridError as error:
        found.append(f"key store: {error.title}")
    found += [f"{name}: {error}" for name, error in sorted(service.ledgers.degraded().items())]
    if service.ledgers.follower.failure is not None:
        found.append("search: the views fall behind")
    if service.ledgers.indexer.failure is not None:
        found.append("search: the words of calls fall behind")
    return found


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    dependencies=[Security(bearer)],
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems.responses(400, 401),
    },
)
def metrics(service: ServiceOf, request: Request) -> Response:
    """Show what Prometheus reads; of ledgers, and of calls, only what whoever asks may see."""
    actor = actors.find_actor(service, request)
    ledgers = find_visible(service, actor, "", LEDGERS)
    numbers = [_numbers(ledger) for ledger in ledgers]
    text = service.metrics.expose(numbers, with_calls=_sees_calls(service, request))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _sees_calls(service: Service, request: Request) -> bool:
    try:
        caller = actors.find_caller(service, request)
    except AccessError:
        return False
    name = service.settings.capture_ledger
    try:
        return caller.sees(service.ledgers.get(name))
    except NotFoundError:  # Not one call has been captured yet.
        return caller.ledger in (None, name)


def _numbers(ledger: Ledger) -> LedgerNumbers:
    status = ledger.witness_status()
    since = status.not_witnessed_since
    late_s = 0.0 if since is None else max(0.0, (now_ms() - since) / 1000)
    return LedgerNumbers(ledger.name, status.size, status.witnessed, late_s)
