"""The one place where the conformance run knows LedgerGrid itself: filling a log, serving it.

Everything else in this folder sees a LedgerGrid service as strangers do, over HTTP.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from pydantic import SecretStr

from api.app import open_ledgers
from api.settings import Settings, to_environment
from ledger_core import ids
from ledger_core.clock import now_ms
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.submission import seal_json
from ledger_core.formats.vkey import NoteSigner, format_skey, format_vkey
from ledger_core.ledger import Ledger
from ledger_core.records.possession import prove_possession
from ledger_core.records.types.key import Register
from ledger_core.storage.database import open_database

_NAME = "conformance"
_BATCH = 1000


@dataclass(frozen=True)
class Place:
    """Where a service keeps what it keeps, and where it is to answer."""

    database_url: str
    folder: Path
    port: int


@dataclass(frozen=True)
class Filled:
    """A log that is ready to be served, and what strangers need to judge it.

    ``log_path`` and ``api_path`` follow the service's address: the prefix of the log's C2SP files,
    and that of its ``/proofs/…`` and ``/entries/…``. ``token`` is for readers, where it needs one.
    """

    vkey: str
    log_path: str
    api_path: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    token: str = ""


def fill(place: Place, entries: int, origin: str | None = None) -> Filled:
    """Make a public ledger of so many entries in a fresh database, and say how to serve it."""
    settings = Settings(data=place.folder, database=SecretStr(place.database_url), port=place.port)
    database = open_database(settings.database_url)
    database.migrate()
    ledgers = open_ledgers(settings, database)
    ledgers.views.ensure()
    ledger = ledgers.create(_NAME, kind="public", origin=origin)
    _append_notes(ledger, entries)
    database.close()
    return Filled(
        vkey=format_vkey(ledger.log_key),
        log_path=f"/log/{_NAME}",
        api_path=f"/api/v1/ledgers/{_NAME}",
        command=[sys.executable, "-m", "api.cli", "serve"],
        environment=to_environment(settings),
    )


@dataclass(frozen=True)
class OwnKey:
    """The public key of a log of ours that is named by it; also as OpenSSH spells it."""

    origin: str
    vkey: str
    openssh: str


def make_own_key(place: Place) -> OwnKey:
    """Give a service that is not there yet a log key with an origin that names it."""
    command = [sys.executable, "-m", "api.cli", "keyring", "add", "--sigsum"]
    done = subprocess.run(
        [*command, "--data", str(place.folder)], check=True, capture_output=True, text=True
    )
    said = dict(line.split("  ", 1) for line in done.stdout.splitlines()[:3])
    return OwnKey(said["origin"].strip(), said["log key"].strip(), said["openssh"].strip())


@dataclass(frozen=True)
class LogKey:
    """A log's keys as text."""

    skey: str
    vkey: str


def make_log_key(origin: str, seed: int) -> LogKey:
    """Make the keys of a log that is not ours."""
    signer = NoteSigner(origin, PrivateKey(bytes([seed]) * 32))
    return LogKey(format_skey(signer), format_vkey(signer.public))


def grow(place: Place, more: int) -> int:
    """Append entries while a service may be serving the ledger; return its size."""
    settings = Settings(data=place.folder, database=SecretStr(place.database_url))
    database = open_database(settings.database_url)
    try:
        ledger = open_ledgers(settings, database).get(_NAME)
        # One entry is the key of a new agent.
        _append_notes(ledger, ledger.size() + more)
        return ledger.size()
    finally:
        database.close()


def serve_witness(place: Place, name: str, logs: Path) -> tuple[Sequence[str], Mapping[str, str]]:
    """Say how to serve a witness of the listed logs, in a folder of its own."""
    chosen = Settings(data=place.folder, port=place.port, witness_name=name, witness_logs=str(logs))
    return [sys.executable, "-m", "api.cli", "serve"], to_environment(chosen)


def _append_notes(ledger: Ledger, entries: int) -> None:
    """Append until the ledger has so many entries, its charter and the agent's key included."""
    agent = PrivateKey.generate()
    possession = prove_possession(ledger.origin, agent)
    register = Register(ids.format_key(agent.public_key), ("agent",), possession)
    ledger.append_as_operator("key/1", msgspec.json.encode(register))
    size = ledger.size()
    while size < entries:
        batch = [
            seal_json(ledger.origin, "note/1", b'{"entry":%d}' % index, agent, now_ms())
            for index in range(size, min(size + _BATCH, entries))
        ]
        for outcome in ledger.append(batch):
            if isinstance(outcome, Exception):
                raise outcome
        size += len(batch)
