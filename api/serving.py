"""Serving: prepare a fresh service, then run its worker processes."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from api import logs, workers
from api.app import open_ledgers
from api.guards import check_exposure
from api.keeper import begin, keeping
from api.metrics import MULTIPROCESS_DIR
from api.settings import PREFIX, Settings, load_settings, to_environment
from ledger_core.errors import ForkError, IntegrityError, SettingsError
from ledger_core.ledgers import Ledgers
from ledger_core.storage.database import open_database
from ledger_core.storage.tokens import Tokens

FIRST_LEDGER = "main"
_OTHER_VARIABLES = {"TOKEN", "URL", "LEDGER", "FAIL_POINT"}


def run(chosen: Mapping[str, Any], *, degraded: bool) -> None:
    """Prepare the service and serve until told to stop; ``chosen`` goes before the environment."""
    settings = load_settings(**chosen)
    check_exposure(settings)
    _warn_of_unknown_variables()
    with _ended_in_order(), ExitStack() as held:
        # Before anything else is open: it is forked.
        line = held.enter_context(keeping(settings)) if settings.keeper == "process" else None
        if settings.sqlite_file is not None:
            held.enter_context(sole_service(settings.sqlite_file))
        prepare(settings, degraded=degraded)
        if line is not None:
            begin(line)
        os.environ.update(to_environment(settings))
        if settings.workers > 1:
            os.environ[MULTIPROCESS_DIR] = held.enter_context(tempfile.TemporaryDirectory())
        logs.configure(settings.log_level)
        options: dict[str, Any] = {
            "factory": True,
            "host": settings.host,
            "port": settings.port,
            "workers": settings.workers,
            "loop": "uvloop",
            "http": "httptools",
            "proxy_headers": False,
            "server_header": False,
            # The proxy passes the upstream's on; the others get theirs from logs.Observer.
            "date_header": False,
            "timeout_graceful_shutdown": settings.shutdown_s,
            **logs.uvicorn_options(),
        }
        app = workers.AppFactory(line)
        if settings.workers > 1:
            workers.run(uvicorn.Config(app, **options))
        else:
            uvicorn.run(app, **options)


class _Terminated(BaseException):
    pass


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM end the process only when all that the block held is closed."""

    def end(*_: Any) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _Terminated:
        signal.signal(signal.SIGTERM, before)
        signal.raise_signal(signal.SIGTERM)


@contextmanager
def sole_service(file: Path) -> Iterator[None]:
    """Hold a SQLite file for this service alone; workers share it under one parent."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(f"{file}.serving", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"another `ledgergrid serve` uses {file}: stop it first, "
                "or give more processes to one service with --workers"
            ) from None
        yield
    finally:
        os.close(descriptor)


def prepare(settings: Settings, *, degraded: bool) -> None:
    """Bring the schema up to date, refuse a fork, and give a fresh service its first things."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = open_database(settings.database_url)
    try:
        database.migrate()
        ledgers = open_ledgers(settings, database)
        check_signed(ledgers, degraded=degraded)
        check_keys(ledgers, degraded=degraded)
        ledgers.prepare_views()
        tokens = Tokens(database)
        if not settings.database.get_secret_value():
            _greet(settings, ledgers, tokens)
        elif not tokens.list():
            print("No token counts yet. Make one: ledgergrid token create NAME --role admin")
    finally:
        database.close()


def check_signed(ledgers: Ledgers, *, degraded: bool) -> None:
    """Raise :class:`ForkError` if some ledger does not continue what was signed."""
    forks = ledgers.check_signed()
    if not forks:
        return
    if not degraded:
        raise ForkError(
            f"{forks[0]}. Nothing is signed on top of it. Restore the newest database, or go "
            "on from this one with `ledgergrid epoch`, or serve what still proves, read-only, with "
            "--degraded"
        )
    for fork in forks:
        print(f"read-only: {fork}", flush=True)


def check_keys(ledgers: Ledgers, *, degraded: bool) -> None:
    """Raise :class:`IntegrityError` if this is not the key store of the newest payloads."""
    try:
        ledgers.check_keys()
    except IntegrityError as error:
        if not degraded:
            raise IntegrityError(
                f"{error}. Is it another service's key store, or an old copy? Give it the newest "
                "one, or go on without those payloads with --degraded",
                index=error.index,
            ) from None
        print(f"payloads cannot be read: {error}", flush=True)


def _greet(settings: Settings, ledgers: Ledgers, tokens: Tokens) -> None:
    if not ledgers.names(limit=1):
        origin = ledgers.create(FIRST_LEDGER).origin
        print(f"A first ledger is ready: {FIRST_LEDGER}, {origin}, kept in {settings.data}")
    if not tokens.list():
        secret = tokens.create("admin", "admin")
        print(f"Admin token, shown only this once: {secret}")
        print("Next, in another terminal:")
        print("  export LEDGERGRID_TOKEN=<that token>")
        print("  ledgergrid keygen --out agent.key")
        print("  ledgergrid key register agent.key")
        print("""  ledgergrid append --type note/1 --signer agent.key --data '{"hello":"world"}'""")
    print(f"Serving on http://{settings.host}:{settings.port}", flush=True)


def _warn_of_unknown_variables() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {PREFIX + name for name in _OTHER_VARIABLES}
    for name in sorted(os.environ.keys() - known):
        if name.startswith(PREFIX):
            print(f"warning: {name} is no setting of this version, and has no effect")
