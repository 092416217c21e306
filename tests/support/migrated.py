"""Databases that have our tables and views already: copies of one, since making them takes long."""

from __future__ import annotations

import functools
import tempfile
from contextlib import closing
from pathlib import Path

from ledger_core.storage.database import open_database
from ledger_core.storage.views import Views


def migrate(url: str) -> None:
    """Make all tables, as a service does when it first starts."""
    with closing(open_database(url)) as database:
        database.migrate()
        Views(database).ensure()


def lay_migrated(file: Path) -> None:
    """Make a SQLite database as ``migrate`` leaves it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for suffix, data in _migrated().items():
        made = file.with_suffix(suffix)
        made.write_bytes(data)
        made.chmod(0o600)


@functools.cache
def _migrated() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        migrate(f"sqlite:///{file}")
        assert not list(Path(folder).glob("*-wal"))
        return {suffix: file.with_suffix(suffix).read_bytes() for suffix in (".db", ".views.db")}
