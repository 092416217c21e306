"""Examination: looks a service over, from its folder to its trees."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from api.app import open_ledgers
from api.settings import Settings
from ledger_core import clock, limits
from ledger_core.errors import (
    IntegrityError,
    LedgerGridError,
    NotFoundError,
    SettingsError,
    WitnessError,
)
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.entry import NO_PREVIOUS, parse_entry
from ledger_core.ledger import Ledger
from ledger_core.ledgers import Ledgers
from ledger_core.merkle import tiles, tree
from ledger_core.policy.epochs import origin_at
from ledger_core.storage.database import Database, open_database
from ledger_core.storage.guards import check_guards
from ledger_core.storage.store import Gone

_CLOCK_SLACK_MS = 5_000
_PARTS_AT_ONCE = 200
_EARLIEST_MS = clock.parse_time("2026-01-01T00:00:00.000Z")


@dataclass(frozen=True)
class Patient:
    """A service on its back: everything open, nothing running."""

    settings: Settings
    database: Database
    ledgers: Ledgers
    newest: int
    """How many of each ledger's newest entries are recomputed."""

    def all_ledgers(self) -> Iterator[Ledger]:
        after = ""
        while names := self.ledgers.names(after=after, limit=limits.PAGE_ITEMS):
            yield from map(self.ledgers.get, names)
            after = names[-1]


Check = Callable[[Patient], None]


def examine(settings: Settings, newest: int) -> Iterator[tuple[str, str]]:
    """Yield each check with what is wrong, or nothing; stop where the next could not run."""
    trouble = _trouble(lambda: check_folder(settings))
    yield "data folder and keys are private", trouble
    if trouble:
        return
    opened = open_database(settings.database_url)
    try:
        trouble = _trouble(opened.check_migrated)
        yield "database answers and has this version's schema", trouble
        if trouble:
            return
        patient = Patient(settings, opened, open_ledgers(settings, opened), newest)
        for name, check in _CHECKS:
            yield name, _trouble(lambda check=check: check(patient))  # type: ignore[misc]
        yield from examine_keys(patient)
    finally:
        opened.close()


def _trouble(check: Callable[[], None]) -> str:
    try:
        check()
    except LedgerGridError as error:
        return str(error)
    return ""


def check_folder(settings: Settings) -> None:
    """Raise unless keys and folder are there and nobody else can read them."""
    if not settings.keyring_file.exists():
        raise SettingsError(f"no keys in {settings.data}: name the service's folder with --data")
    files = [settings.sqlite_file, settings.signer_memory_file, settings.key_store_file]
    for file in files:
        if file is not None and not file.exists():
            raise NotFoundError(f"{file} is missing: restore it before anything is signed")
    for path in (settings.data, settings.keyring_file, settings.key_store_file):
        if path is not None:
            _check_private(path)


def _check_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"{path} is open to others: chmod go-rwx {path}")


def check_append_only(patient: Patient) -> None:
    check_guards(patient.database)


def check_memory(patient: Patient) -> None:
    """Raise unless every ledger continues what was signed last."""
    forks = patient.ledgers.check_signed()
    if forks:
        raise forks[0]


def check_trees(patient: Patient) -> None:
    """Recompute each ledger's newest entries up to its checkpoint."""
    ledgers = list(patient.all_ledgers())
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("recomputing", total=len(ledgers))
        for ledger in ledgers:
            check_newest(ledger, patient.newest)
            progress.advance(task)


def check_newest(ledger: Ledger, newest: int) -> None:
    """Raise unless the newest entries hash, chain and prove as the signed checkpoint says."""
    checkpoint = verify_checkpoint(ledger.checkpoint(), ledger.log_key)
    start = max(0, checkpoint.size - newest)
    origins = ledger.constitution().origins
    previous = NO_PREVIOUS if start == 0 else None
    for index, leaf in _leaves(ledger, start, checkpoint.size):
        header = parse_entry(leaf).header
        chained = previous is None or header.previous == previous
        origin = origin_at(origins, index)
        if header.index != index or header.origin != origin or not chained:
            raise IntegrityError(f"{ledger.name}: entry {index} is not in its place", index=index)
        previous = tree.leaf_hash(leaf)
        proof = ledger.prove_inclusion(index, checkpoint.size)
        if proof.root != checkpoint.root or proof.leaf_hash != previous:
            raise IntegrityError(
                f"{ledger.name}: entry {index} is not what the checkpoint covers", index=index
            )


def _leaves(ledger: Ledger, start: int, size: int) -> Iterator[tuple[int, bytes]]:
    for position in range(start // tiles.TILE_WIDTH, -(-size // tiles.TILE_WIDTH)):
        first = position * tiles.TILE_WIDTH
        bundle = ledger.bundle(position, tiles.tile_width(0, position, size))
        for offset, leaf in enumerate(tiles.parse_bundle(bundle)):
            if first + offset >= start:
                yield first + offset, leaf


def examine_keys(patient: Patient) -> Iterator[tuple[str, str]]:
    """Say whether the newest payloads have their keys, and how many keys there are."""
    name = "payloads have their keys"
    trouble = _trouble(lambda: check_keys(patient))
    if not trouble:
        keys, unused = patient.ledgers.count_keys()
        name += f" ({keys:,} in the key store, of which {unused:,} seal nothing yet)"
    yield name, trouble


def check_keys(patient: Patient) -> None:
    """Raise unless the key store has, or had, the key of each of the newest payload parts."""
    for ledger in patient.all_ledgers():
        ledger.check_keys(patient.newest)
    patient.ledgers.count_keys()


def check_parts(patient: Patient) -> None:
    """Raise unless each part of the newest entries is there, or was erased by an order."""
    for ledger in patient.all_ledgers():
        size = ledger.size()
        for start in range(max(0, size - patient.newest), size, _PARTS_AT_ONCE):
            for entry in ledger.entries(range(start, min(start + _PARTS_AT_ONCE, size))):
                lost = [name for name, gone in entry.gone.items() if gone is Gone.ROW]
                if lost:
                    raise IntegrityError(
                        f"{ledger.name}: entry {entry.index}: part {lost[0]} is missing, erased "
                        "by no order",
                        index=entry.index,
                    )


def check_erased(patient: Patient) -> None:
    """Raise unless keys and ciphertext of what was ordered to be erased are gone."""
    undone = patient.ledgers.eraser.find_undone()
    if undone is not None:
        raise IntegrityError(
            f"{undone.ledger}: part {undone.part} of entry {undone.index} is erased, and not "
            "destroyed yet: the service does that while it runs",
            index=undone.index,
        )


def check_clock(patient: Patient) -> None:
    """Raise unless this machine's time is behind nothing that was received."""
    now_ms = time.time_ns() // 1_000_000
    if now_ms < _EARLIEST_MS:
        raise SettingsError(f"this machine's clock says {clock.format_time(now_ms)}")
    for ledger in patient.all_ledgers():
        newest = ledger.bundle(*_last_bundle(ledger.size()))
        received_at = parse_entry(tiles.parse_bundle(newest)[-1]).header.received_at
        if received_at > now_ms + _CLOCK_SLACK_MS:
            raise SettingsError(
                f"{ledger.name} holds an entry of {clock.format_time(received_at)}, "
                f"this machine's clock says {clock.format_time(now_ms)}"
            )


def _last_bundle(size: int) -> tuple[int, int]:
    position = (size - 1) // tiles.TILE_WIDTH
    return position, size - position * tiles.TILE_WIDTH


def check_witnessed(patient: Patient) -> None:
    """Raise unless the witnesses keep up with every ledger, where any are asked."""
    for ledger in patient.all_ledgers():
        status = ledger.witness_status()
        if status.not_witnessed_since is not None:
            said = "; ".join(f"{x.name}: {x.error}" for x in status.witnesses if x.error)
            raise WitnessError(
                f"{ledger.name} is not witnessed since "
                f"{clock.format_time(status.not_witnessed_since)} ({said or 'nobody was asked'})"
            )


_CHECKS: Sequence[tuple[str, Check]] = (
    ("ground truth is append-only in the database itself", check_append_only),
    ("signer's memory agrees with every ledger", check_memory),
    ("newest entries hash, chain and prove up to the checkpoint", check_trees),
    ("payload parts are there, or erased by an order", check_parts),
    ("what was erased is destroyed", check_erased),
    ("clock is sane", check_clock),
    ("witnesses keep up", check_witnessed),
)
