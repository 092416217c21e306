"""``create_app(settings)``: the one place where the objects of the service are joined.

::

    Observer              id, metrics, logs of what failed
      Guard               Host, Origin, content types; headers for browsers
        AppendRoutes      the two hot routes, plain ASGI
          BoundedBodies   small bodies only, from here on
            FastAPI       everything else
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import structlog
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api import logs, problems
from api.bodies import BoundedBodies, Intake
from api.feed import Feed
from api.guards import Guard, check_exposure
from api.keystores import open_key_store
from api.mcp.server import PATH as MCP_PATH
from api.mcp.server import McpEndpoint
from api.metrics import Metrics
from api.proxy.app import Proxy
from api.proxy.session_paths import SessionPaths
from api.reporting import open_reporters
from api.routes import (
    alerts,
    anchors,
    archive,
    calls,
    capture,
    changes,
    entries,
    exports,
    governance,
    health,
    ledgers,
    live,
    proofs,
    records,
    retention,
    search,
    sessions,
    static_log,
    stream,
    subjects,
    witness,
    witnesses,
)
from api.service import Service
from api.settings import Settings, load_settings
from api.streams import Hub
from api.witnesses import open_cosigner, open_witnessing, read_witness_policy
from ledger_core.beside import Keeper
from ledger_core.keyring import open_keyring
from ledger_core.ledgers import Ledgers
from ledger_core.pool import Pool
from ledger_core.storage.database import Database, open_database
from ledger_core.storage.signer_memory import SignerMemory
from ledger_core.storage.tokens import Tokens

VERSION = "0.1.0"
OPENAPI_PATH = "/api/v1/openapi.json"
_NEW_OBJECTS = 5_000
"""How many objects are made before the youngest are collected; Python's 700 are a few requests."""
_ROUTERS = (
    ledgers,
    governance,
    entries,
    alerts,
    changes,
    retention,
    subjects,
    proofs,
    anchors,
    archive,
    stream,
    calls,
    capture,
    search,
    sessions,
    exports,
    live,
    static_log,
    witness,
    witnesses,
    health,
)


class App:
    """The service as an ASGI application; ``service`` holds its objects."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.api = _describe(service)
        bounded = BoundedBodies(self.api, service.intake)
        hot = records.AppendRoutes(bounded, service)
        verbose = service.settings.log_level == "debug"
        guarded = Guard(Proxy(hot, service), service.settings)
        observed = logs.Observer(guarded, service.metrics, logs_requests=verbose)
        self._layers: ASGIApp = SessionPaths(observed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._layers(scope, receive, send)


def create_app(settings: Settings, keeper: Keeper | None = None) -> App:
    """Build the service; nothing runs before its lifespan begins."""
    check_exposure(settings)
    if not structlog.is_configured():
        # structlog's own default prints local variables, and payloads with them.
        logs.configure_structlog(settings.log_level)
    return App(build_service(settings, keeper))


def app_from_environment(keeper: Keeper | None = None) -> App:
    """Build the service in a worker process of ``ledgergrid serve``."""
    settings = load_settings()
    logs.configure(settings.log_level)
    app = create_app(settings, keeper)
    spare_collector()
    return app


def spare_collector() -> None:
    """Take all that is there now out of garbage collection, and collect less often.

    Modules, routes and tables stay for good: looking through them again and again made some
    requests wait for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])


def build_service(settings: Settings, keeper: Keeper | None = None) -> Service:
    """Open database, keys and signer's memory, and join them."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = open_database(settings.database_url)
    database.migrate()
    metrics = Metrics()
    feed = Feed(metrics.calls.count, metrics.calls.count_unreported)
    ledgers = open_ledgers(settings, database, keeper)
    return Service(
        settings=settings,
        database=database,
        ledgers=ledgers,
        pool=Pool(on_batch=metrics.observe_batch),
        tokens=Tokens(database),
        hub=Hub(settings.max_stream_readers),
        intake=Intake(settings.max_bodies_bytes, settings.body_timeout_s),
        metrics=metrics,
        feed=feed,
        reporters=open_reporters(settings, VERSION, database, ledgers, feed, metrics.calls),
        cosigner=open_cosigner(settings, database),
        witnessing=open_witnessing(settings, ledgers, database),
    )


def open_ledgers(settings: Settings, database: Database, keeper: Keeper | None = None) -> Ledgers:
    """Join a database with the service's keys and the signer's memory."""
    memory = SignerMemory(open_database(settings.signer_memory_url))
    keyring = open_keyring(settings.keyring_file)
    return Ledgers(
        database,
        memory,
        keyring,
        open_key_store(settings),
        origin_prefix=settings.origin_prefix,
        witness_policy=read_witness_policy(settings),
        witness_late_ms=round(settings.witness_late_s * 1000),
        key_backup_days=settings.key_backup_days or None,
        retention_interval_s=settings.retention_interval_s,
        keeper=keeper,
    )


def _lifespan(service: Service, mcp: McpEndpoint) -> Any:
    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(service.ledgers.start)
        service.pool.start()
        for reporter in service.reporters:
            reporter.start()
        if service.witnessing is not None:
            service.witnessing.start()
        async with mcp.running():
            logs.log.info("serving", workers=service.settings.workers)
            yield
        # In this order: what was accepted is finished, then what it needs is closed.
        for reporter in service.reporters:
            await anyio.to_thread.run_sync(reporter.close)
        await anyio.to_thread.run_sync(service.pool.close)
        if service.witnessing is not None:
            await anyio.to_thread.run_sync(service.witnessing.close)
        await anyio.to_thread.run_sync(service.ledgers.close)
        await anyio.to_thread.run_sync(service.database.close)

    return run


# --- FastAPI -------------------------------------------------------------------------


def _describe(service: Service) -> FastAPI:
    mcp = McpEndpoint(service, version=VERSION)
    app = FastAPI(
        title="LedgerGrid",
        version=VERSION,
        summary="The verifiable ledger for AI agents",
        lifespan=_lifespan(service, mcp),
        openapi_url=OPENAPI_PATH,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    problems.install(app)
    for module in _ROUTERS:
        app.include_router(module.router)
    app.router.routes.append(Route(MCP_PATH, mcp))
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]
    return app


def openapi(app: FastAPI) -> dict[str, Any]:
    """Describe every operation, the hot routes too, which FastAPI does not see."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes
        )
        schema["paths"].update(records.describe())
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        components.update(records.SCHEMAS)
        for name in ("HTTPValidationError", "ValidationError"):
            components.pop(name, None)
        for path in schema["paths"].values():
            for operation in path.values():
                _drop_validation_answer(operation)
        app.openapi_schema = schema
    return app.openapi_schema


def _drop_validation_answer(operation: dict[str, Any]) -> None:
    """Drop the 422 that FastAPI promises by itself: what is malformed is a 400 here."""
    answer = operation["responses"].get("422", {})
    if "application/json" in answer.get("content", {}):
        del operation["responses"]["422"]
