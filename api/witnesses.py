"""Witnesses, both ways: this service as one for other logs, and others for its own ledgers."""

from __future__ import annotations

from pathlib import Path

from api import logs
from api.settings import PREFIX, Settings
from ledger_core import limits
from ledger_core.asking import Pace
from ledger_core.cosigner import Cosigner
from ledger_core.errors import LedgerGridError, SettingsError
from ledger_core.formats.log_list import parse_log_list
from ledger_core.formats.trust_policy import TrustPolicy, parse_witness_policy
from ledger_core.keyring import open_keyring
from ledger_core.ledgers import Ledgers
from ledger_core.storage.database import Database
from ledger_core.witnessing import Witnessing


def open_cosigner(settings: Settings, database: Database) -> Cosigner | None:
    """Make this service the witness that the settings ask for, if they do."""
    if not settings.witness_name:
        if settings.witness_logs:
            raise SettingsError(f"{PREFIX}WITNESS_LOGS needs {PREFIX}WITNESS_NAME")
        return None
    raw = _read(settings.witness_logs, "WITNESS_LOGS", limits.LOG_LIST_BYTES)
    try:
        logs = parse_log_list(raw)
    except LedgerGridError as error:
        raise SettingsError(f"{PREFIX}WITNESS_LOGS: {error}") from None
    signers = open_keyring(settings.keyring_file).witness_signers(settings.witness_name)
    return Cosigner(database, signers, logs)


def read_witness_policy(settings: Settings) -> TrustPolicy | None:
    """Read whom the settings say to ask for cosignatures, if anybody."""
    if not settings.witness_policy:
        return None
    raw = _read(settings.witness_policy, "WITNESS_POLICY", limits.POLICY_BYTES)
    try:
        return parse_witness_policy(raw)
    except LedgerGridError as error:
        raise SettingsError(f"{PREFIX}WITNESS_POLICY: {error}") from None


def open_witnessing(settings: Settings, ledgers: Ledgers, database: Database) -> Witnessing | None:
    """Make what asks witnesses for cosignatures, if the settings name any."""
    policy = read_witness_policy(settings)
    if policy is None:
        return None
    pace = Pace(
        interval_s=settings.witness_interval_s,
        timeout_s=settings.witness_timeout_s,
        retry_s=settings.witness_interval_s,
    )
    return Witnessing(ledgers, database, policy, pace, on_failure=_tell)


def _tell(error: LedgerGridError) -> None:
    """What witnesses do wrong is stored and shown; this is what keeps us from asking them."""
    logs.log.warning("witnesses could not be asked", code=error.code, reason=str(error))


def _read(path: str, name: str, limit: int) -> bytes:
    if not path:
        raise SettingsError(f"{PREFIX}{name} names no file")
    try:
        with Path(path).open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise SettingsError(f"{PREFIX}{name}: cannot read {path}: {error.strerror}") from None
