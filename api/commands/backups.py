"""``ledgergrid backup`` and ``ledgergrid restore``: ground truth, verified as it is copied."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from api.commands.options import Data, DatabaseUrl

_SHOWN = 20


def backup(
    folder: Annotated[Path, typer.Argument(help="New folder for the backup.")],
    data: Data = None,
    database: DatabaseUrl = None,
) -> None:
    """Copy the database into a new folder, while the service runs, and verify the copy.

    Not in it: the keyring, the signer's memory, payload keys. See the operator guide.
    """
    from api.settings import load_settings  # Not before it is asked for: it loads the service.
    from ledger_core.backups import MANIFEST, back_up
    from ledger_core.clock import now_ms
    from ledger_core.storage.database import open_database

    settings = load_settings(data=data, database=database)
    _check_there(settings.sqlite_file)
    with closing(open_database(settings.database_url)) as opened:
        made = back_up(opened, folder, now_ms)
    manifest = sha256((folder / MANIFEST).read_bytes()).hexdigest()
    print(f"backup    {folder}, {made.database}, schema {made.schema}, {made.size:,} bytes")
    _show([f"{each.name}  {each.size} entries, root {each.root}" for each in made.ledgers])
    if made.database == "sqlite":
        print("verified  in the copy: its pages, every entry's hash, every ledger's root")
    else:
        print("verified  in the snapshot that was dumped: every entry's hash, every ledger's root;")
        print("          of the dump: that pg_restore lists every table")
    print(f"manifest  sha256 {manifest}")
    print("Not in it: keyring, signer's memory, payload keys. Keep those elsewhere.")


def restore(
    folder: Annotated[Path, typer.Argument(help="Folder that `ledgergrid backup` made.")],
    data: Data = None,
    database: DatabaseUrl = None,
) -> None:
    """Put a backup into an empty place, verify it, and say what comes next.

    Exit code 1 if it is behind what was signed: then an epoch has to be opened.
    """
    from api.settings import load_settings
    from ledger_core.backups import compare, restore
    from ledger_core.storage.database import open_database
    from ledger_core.storage.signer_memory import SignerMemory

    settings = load_settings(data=data, database=database)
    made = restore(folder, settings.database_url)
    print(f"restored  the database of {made.made_at}, with its ledgers: {len(made.ledgers)}")
    print("verified  the copy's digest, every entry's hash, every ledger's root")
    memory_file = settings.signer_memory_file
    if memory_file is not None and not memory_file.exists():
        print(f"There is no signer's memory in {memory_file}: put it back before you serve, or")
        print("nothing here notices what was signed after the backup. Then: ledgergrid doctor")
        raise typer.Exit(1)
    with (
        closing(open_database(settings.database_url)) as opened,
        closing(open_database(settings.signer_memory_url)) as remembered,
    ):
        standings = compare(opened, SignerMemory(remembered))
    differing = [each for each in standings if each.behind != 0]
    if not differing:
        print("All ledgers continue what was signed. Next: ledgergrid serve")
        return
    behind = [f"{x.behind} entries were signed after this" for x in differing]
    notes = [each.note or text for each, text in zip(differing, behind, strict=True)]
    _show([f"{each.name}  {note}" for each, note in zip(differing, notes, strict=True)])
    print("Nothing is signed on top of it. Next: a newer backup, or for each ledger named here:")
    print("  ledgergrid epoch state LEDGER FILE --reason TEXT")
    raise typer.Exit(1)


def _check_there(file: Path | None) -> None:
    from ledger_core.errors import NotFoundError

    if file is not None and not file.exists():
        raise NotFoundError(f"there is no database in {file}: name the folder with --data")


def _show(lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        print(f"  {line}")
    if len(lines) > _SHOWN:
        print(f"  … and {len(lines) - _SHOWN} more")
