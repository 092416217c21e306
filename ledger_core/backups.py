"""Backups: a folder with one copy of ground truth and a manifest of what is in it.

::

    manifest.json     when, which schema, digest of the copy, size and root of every ledger
    ledger.db         the copy, of SQLite; or
    ledger.pgdump     of PostgreSQL, in pg_dump's own format

What is not in it: the signer's memory, which must not go back with a database; keyring and payload
keys, which must not lie beside what they open; views, which are made of the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ledger_core import ids, limits
from ledger_core.clock import Clock, format_time
from ledger_core.errors import ForkError, IntegrityError, MalformedError, SettingsError
from ledger_core.merkle.tree import Frontier, leaf_hash
from ledger_core.signing import check_left
from ledger_core.storage import catalogue, copies, store
from ledger_core.storage.catalogue import LedgerRow
from ledger_core.storage.copies import Kind
from ledger_core.storage.database import (
    Database,
    Transaction,
    check_schema_known,
    open_database,
)
from ledger_core.storage.signer_memory import SignerMemory
from ledger_core.storage.store import Head

MANIFEST = "manifest.json"
_FILES: dict[Kind, str] = {"sqlite": "ledger.db", "postgresql": "ledger.pgdump"}
_AT_ONCE = 2_048
_CHUNK = 1024 * 1024

Number = Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_INTEGER)]
Tell = Callable[[int, int], None]
"""Told how many ledgers of how many are verified."""


class BackedUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ledger as the backup has it."""

    name: str
    origin: str
    size: Number
    root: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Literal[1]
    made_at: str
    database: Kind
    schema: str
    size: Number
    """Of the copy, in bytes."""
    digest: str
    ledgers: tuple[BackedUp, ...]


@dataclass(frozen=True)
class Standing:
    """How a restored ledger stands to what was signed: entries it is behind, None if unknown."""

    name: str
    size: int
    behind: int | None
    note: str = ""


# --- making one ----------------------------------------------------------------------


def back_up(
    database: Database, folder: Path, clock: Clock, tell: Tell = lambda done, total: None
) -> Manifest:
    """Copy a database that may be in use into a new folder, and verify the copy.

    Every leaf is hashed and every root computed from them: of SQLite in the copy itself, of
    PostgreSQL in the snapshot that was dumped.
    """
    database.check_migrated()
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise SettingsError(f"{folder} is there already: a backup is a new folder") from None
    kind = copies.kind_of(database)
    file = folder / _FILES[kind]
    if kind == "sqlite":
        ledgers = _copy_sqlite(database, file, tell)
    else:
        with copies.snapshot(database) as (tx, name):
            ledgers = _verify(tx, catalogue.read_all_heads(tx), tell)
            copies.dump_postgresql(tx, name, file)
    file.chmod(0o600)
    copies.sync(file)
    manifest = Manifest(
        v=1,
        made_at=format_time(clock()),
        database=kind,
        schema=database.read_schema(),
        size=file.stat().st_size,
        digest=_digest(file),
        ledgers=tuple(ledgers),
    )
    # Last: a folder without a manifest is no backup.
    (folder / MANIFEST).write_bytes(format_manifest(manifest))
    for path in (folder / MANIFEST, folder, folder.parent):
        copies.sync(path)
    return manifest


def _copy_sqlite(database: Database, file: Path, tell: Tell) -> list[BackedUp]:
    with database.read() as tx:
        before = {row.ledger_id: head for row, head in catalogue.read_all_heads(tx)}
    copies.copy_sqlite(database, file)
    with _reading(file) as tx:
        heads = catalogue.read_all_heads(tx)
        for row, head in heads:
            then = before.pop(row.ledger_id, head)
            if then != head and compute_root(tx, row.ledger_id, then.size) != then.root:
                raise IntegrityError(f"{row.name}: the copy does not continue the database")
        if before:
            raise IntegrityError(f"the copy lacks {len(before)} ledgers")
        return _verify(tx, heads, tell)


@contextmanager
def _reading(file: Path) -> Iterator[Transaction]:
    """Read a copy; it is one file again afterwards."""
    with closing(open_database(f"sqlite:///{file}")) as copy, copy.read() as tx:
        yield tx


def _verify(tx: Transaction, heads: Sequence[tuple[LedgerRow, Head]], tell: Tell) -> list[BackedUp]:
    """Compute every ledger's root from its leaves; say what each ledger is."""
    found: list[BackedUp] = []
    for row, head in sorted(heads, key=lambda each: each[0].name):
        if compute_root(tx, row.ledger_id, head.size) != head.root:
            raise IntegrityError(f"{row.name}: its entries do not have the root that its head says")
        found.append(BackedUp(row.name, row.origin, head.size, ids.format_digest(head.root)))
        tell(len(found), len(heads))
    return found


def compute_root(tx: Transaction, ledger_id: int, size: int) -> bytes:
    """Hash every leaf below ``size`` and return the root of the tree they make."""
    frontier = Frontier()
    for start in range(0, size, _AT_ONCE):
        end = min(start + _AT_ONCE, size)
        leaves = store.read_leaves(tx, ledger_id, start, end)
        if len(leaves) != end - start:
            raise IntegrityError(f"entries are missing between {start} and {end - 1}", index=start)
        frontier = frontier.extend([leaf_hash(leaf) for leaf in leaves])
    return frontier.root()


def _digest(file: Path) -> str:
    digest = sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return ids.format_digest(digest.digest())


# --- the manifest --------------------------------------------------------------------

_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(Manifest)


def format_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.format(_ENCODER.encode(manifest), indent=1) + b"\n"


def parse_manifest(raw: bytes) -> Manifest:
    """Parse a manifest; there is one spelling."""
    try:
        manifest = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"{MANIFEST} is not valid: {error}") from None
    if format_manifest(manifest) != raw:
        raise MalformedError(f"{MANIFEST} is not in the form in which it is written")
    return manifest


def read_backup(folder: Path) -> tuple[Manifest, Path]:
    """Return a backup's manifest and copy; raise unless the copy is the one it speaks of."""
    try:
        with (folder / MANIFEST).open("rb") as stream:
            raw = stream.read(limits.ARCHIVE_MANIFEST_BYTES)
    except FileNotFoundError:
        raise SettingsError(f"{folder} is no backup: it has no {MANIFEST}") from None
    manifest = parse_manifest(raw)
    file = folder / _FILES[manifest.database]
    if not file.is_file():
        raise IntegrityError(f"{file} is missing")
    if file.stat().st_size != manifest.size or _digest(file) != manifest.digest:
        raise IntegrityError(f"{file} is not the file that was backed up")
    return manifest, file


# --- restoring -----------------------------------------------------------------------


def restore(folder: Path, database_url: str, tell: Tell = lambda done, total: None) -> Manifest:
    """Put a backup into an empty place; verify all of it there, and bring its schema up to date."""
    manifest, file = read_backup(folder)
    check_schema_known(manifest.schema)
    with closing(open_database(database_url)) as database:
        if copies.kind_of(database) != manifest.database:
            raise SettingsError(f"this is a backup of {manifest.database}: name such a database")
        copies.check_empty(database)
        if manifest.database == "sqlite":
            copies.load_sqlite(file, database)
        else:
            copies.load_postgresql(file, database)
        if database.read_schema() != manifest.schema:
            raise IntegrityError("what was restored has another schema than the backup says")
        database.migrate()
        with database.read() as tx:
            found = _verify(tx, catalogue.read_all_heads(tx), tell)
    if tuple(found) != manifest.ledgers:
        raise IntegrityError("what was restored are not the ledgers that the backup says")
    return manifest


def compare(database: Database, memory: SignerMemory) -> list[Standing]:
    """Say of each ledger how it stands to what was signed; those that differ come first."""
    signed = memory.recall_all()
    rows: dict[str, tuple[LedgerRow, Head]] = {}
    found: list[Standing] = []
    with database.read() as tx:
        for row, head in catalogue.read_all_heads(tx):
            last = signed.pop(row.origin, None)
            if last is None:
                found.append(Standing(row.name, head.size, None, "nothing it signed is known"))
            elif last.size > head.size:
                found.append(Standing(row.name, head.size, last.size - head.size))
            elif compute_root(tx, row.ledger_id, last.size) != last.root:
                found.append(Standing(row.name, head.size, None, "its history is another one"))
            else:
                found.append(Standing(row.name, head.size, 0))
            rows[row.origins[0]] = (row, head)
    for origin, last in signed.items():
        if ids.parse_epoch(origin)[0] not in rows:
            note = f"signed up to size {last.size}, not in the backup"
            found.append(Standing(origin, 0, None, note))
            continue
        row, head = rows[ids.parse_epoch(origin)[0]]
        try:
            check_left(database, row, origin, last)
        except ForkError as error:
            found.append(Standing(row.name, head.size, None, str(error)))
    return sorted(found, key=lambda each: (each.behind == 0, each.name))
